"""Peers by address, shared by everything in the process that makes calls."""

from __future__ import annotations

from mimir_rw.kit.rng import Rng
from mimir_rw.kit.service import Service
from mimir_rw.rpc.handshake import Identity
from mimir_rw.rpc.metrics import RpcMetrics
from mimir_rw.rpc.peer import ClientTls, PeerSettings, ReconnectingPeer
from mimir_rw.rpc.transport import RpcPeer

_FORGET_ABOVE = 64


class RpcPools(Service):
    """An `rpc.transport.RpcPool`. A peer closes its own connection when it is idle and opens it again when used."""

    def __init__(
        self,
        *,
        identity: Identity,
        settings: PeerSettings,
        rng: Rng,
        metrics: RpcMetrics,
        tls: ClientTls | None = None,
    ) -> None:
        super().__init__("rpc-pool")
        self._identity, self._settings, self._tls = identity, settings, tls
        self._rng, self._metrics = rng, metrics
        self._peers: dict[str, ReconnectingPeer] = {}

    def peer(self, address: str) -> RpcPeer:
        """See `RpcPool`. To be asked for once the service has been started."""
        found = self._peers.get(address)
        if found is None:
            if len(self._peers) >= _FORGET_ABOVE:
                self._peers = {name: peer for name, peer in self._peers.items() if not peer.dormant}
            found = self._peers[address] = ReconnectingPeer(
                address,
                identity=self._identity,
                settings=self._settings,
                tasks=self.tasks,
                rng=self._rng,
                metrics=self._metrics,
                tls=self._tls,
            )
        return found

    async def shut_down(self) -> None:
        for peer in self._peers.values():
            peer.close()
