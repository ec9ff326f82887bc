"""What a process has from outside itself: time, chance, threads, secrets, the machine it runs on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mimir_rw.app.identity import Machine
from mimir_rw.kit.clock import Clock, SystemClock
from mimir_rw.kit.host import host_name, interface_addresses
from mimir_rw.kit.offload import Offload, ThreadOffload
from mimir_rw.kit.rng import Rng, secret_bytes, system_rng
from mimir_rw.objstore.contract import Bucket


@dataclass(frozen=True, slots=True)
class World:
    """secret: so many unguessable bytes. one_loop: gossip lives on the main loop, where nothing else can hold it up."""

    clock: Clock
    rng: Rng
    offload: Offload
    secret: Callable[[int], bytes]
    machine: Machine
    one_loop: bool = False
    new_offload: Callable[[str, int], Offload] | None = None
    """A pool of so many threads for work that must not hold up the rest; None: all work is done by `offload`."""
    bucket: Bucket | None = None
    """Object storage in place of what the configuration names: that of a simulated cluster."""


def real_world() -> World:
    return World(
        clock=SystemClock(),
        rng=system_rng(),
        offload=ThreadOffload(name="native"),
        secret=secret_bytes,
        machine=Machine(host_name(), interface_addresses()),
        new_offload=lambda name, threads: ThreadOffload(name=name, threads=threads),
    )
