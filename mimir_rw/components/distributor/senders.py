"""The way to each ingester of the ring: made when it is first written to, given up when it has left."""

from __future__ import annotations

from collections.abc import Callable

from mimir_rw.components.distributor.sender import Sender
from mimir_rw.ring.desc import InstanceDesc
from mimir_rw.ring.view import RingView

MakeSender = Callable[[InstanceDesc], Sender]


class Senders:
    """By id and address: an ingester that comes back under another address is another one."""

    def __init__(self, *, make: MakeSender) -> None:
        self._make = make
        self._senders: dict[tuple[str, str], Sender] = {}

    def to(self, instance: InstanceDesc) -> Sender:
        key = (instance.id, instance.addr)
        sender = self._senders.get(key)
        if sender is None:
            sender = self._senders[key] = self._make(instance)
        return sender

    def follow(self, view: RingView) -> None:
        """Give up those that are in the ring no more; what waits for them ends."""
        present = {(instance.id, instance.addr) for instance in view.instances}
        for key in [key for key in self._senders if key not in present]:
            self._senders.pop(key).stop()

    def age(self) -> None:
        for sender in self._senders.values():
            sender.age()

    def stop(self) -> None:
        for sender in self._senders.values():
            sender.stop()
        self._senders.clear()
