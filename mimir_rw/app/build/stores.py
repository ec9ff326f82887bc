"""Where rings and other shared values are kept: the stores that the configuration names, each made once."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from mimir_rw.app.build.base import Base
from mimir_rw.app.build.gossip import client_tls_settings
from mimir_rw.config.kvstore import ConsulConfig, EtcdConfig, KvStoreConfig
from mimir_rw.config.runtime_config import RuntimeSettings
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.service import Service
from mimir_rw.kit.tls import client_context
from mimir_rw.kv.contract import KV, Codec
from mimir_rw.kv.memberlist.service import MemberlistService
from mimir_rw.kv.memory import MemoryStore
from mimir_rw.kv.multi import MultiKV, MultiMetrics, MultiRoles, Roles

if TYPE_CHECKING:
    from mimir_rw.kv.consul import ConsulStore
    from mimir_rw.kv.etcd import EtcdStore

V = TypeVar("V")

_log = get_logger(component="kv-stores")


class KvStores(Service):
    """Closes connections to stores elsewhere when all that use them have ended. With the runtime file it changes which
    of two stores is the primary one, as soon as it runs. `memberlist` is set once gossip has been built."""

    def __init__(self, base: Base) -> None:
        super().__init__("kv-stores")
        self._base = base
        self.memberlist: MemberlistService | None = None
        self._memory = MemoryStore()
        self._etcd: dict[EtcdConfig, EtcdStore] = {}
        self._consul: dict[ConsulConfig, ConsulStore] = {}
        self._multi_metrics = MultiMetrics(base.metrics)
        self._roles: dict[str, tuple[MultiRoles, Roles]] = {}

    def kv(self, ring: str, kvstore: KvStoreConfig, codec: Codec[V]) -> KV[V]:
        """The values of one codec in the store of a ring."""
        if kvstore.store != "multi":
            return self._single(kvstore.store, kvstore, codec)
        config = kvstore.multi
        names = (config.primary, config.secondary)
        if ring not in self._roles:
            roles = Roles(config.primary, config.mirror_enabled)
            timeout_s = config.mirror_timeout / 1000
            made = MultiRoles(ring, names, roles, mirror_timeout_s=timeout_s, metrics=self._multi_metrics)
            self._roles[ring] = made, roles
        return MultiKV({name: self._single(name, kvstore, codec) for name in names}, self._roles[ring][0])

    async def start_up(self) -> None:
        self._base.runtime.follow(self._change_roles)

    async def shut_down(self) -> None:
        for store in (*self._etcd.values(), *self._consul.values()):
            await store.close()

    def _single(self, name: str, kvstore: KvStoreConfig, codec: Codec[V]) -> KV[V]:
        if name == "inmemory":
            return self._memory.kv(codec)
        if name == "memberlist":
            assert self.memberlist is not None
            return self.memberlist.kv(codec)
        return (
            self._etcd_store(kvstore.etcd).kv(codec) if name == "etcd" else self._consul_store(kvstore.consul).kv(codec)
        )

    def _etcd_store(self, config: EtcdConfig) -> EtcdStore:
        from mimir_rw.kv.etcd import EtcdStore  # here: its HTTP client is a fifth of a start's time

        if config not in self._etcd:
            tls = client_context(client_tls_settings(config), flags="etcd.tls") if config.tls_enabled else None
            self._etcd[config] = EtcdStore(
                endpoints=config.endpoints,
                dial_timeout_s=config.dial_timeout / 1000,
                max_retries=config.max_retries,
                rng=self._base.rng,
                username=config.username,
                password=config.password,
                tls=tls,
                server_name=config.tls_server_name,
            )
        return self._etcd[config]

    def _consul_store(self, config: ConsulConfig) -> ConsulStore:
        from mimir_rw.kv.consul import ConsulStore

        if config not in self._consul:
            self._consul[config] = ConsulStore(
                host=config.host,
                clock=self._base.clock,
                rng=self._base.rng,
                acl_token=config.acl_token,
                timeout_s=config.http_client_timeout / 1000,
                consistent_reads=config.consistent_reads,
                watch_rate=config.watch_rate_limit,
                watch_burst=config.watch_burst_size,
                cas_retry_delay_s=config.cas_retry_delay / 1000,
            )
        return self._consul[config]

    def _change_roles(self, settings: RuntimeSettings) -> None:
        overlay = settings.multi_kv
        for ring, (roles, configured) in self._roles.items():
            primary = configured.primary if overlay.primary is None else overlay.primary
            mirroring = configured.mirroring if overlay.mirror_enabled is None else overlay.mirror_enabled
            try:
                roles.change(Roles(primary, mirroring))
            except ValueError as error:
                _log.warning("multi_kv_config does not fit the stores of a ring", ring=ring, err=str(error))
