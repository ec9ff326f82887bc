"""What two processes agree on before the first call: that they belong together, and which version they speak. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from mimir_rw.model.errors import BadRequest, Conflict, MimirError
from mimir_rw.rpc.codec import Hello, HelloAck

MAGIC = "mimir-rw rpc"
PROTOCOL_MIN = 1
PROTOCOL_MAX = 3
"""1: rows of a push always come with labels. 2: rows of a push may refer to a series by its hash. 3: they may have
native histograms, exemplars and start timestamps."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this process is to others. epoch: random, another in each life of the process. protocol_max: lower than this
    version's own while a cluster is on its way back to an older one."""

    cluster: str
    instance: str
    epoch: str
    software: str = ""
    protocol_max: int = PROTOCOL_MAX
    check_cluster: bool = True
    """Whether a peer of another cluster label is refused."""

    def __post_init__(self) -> None:
        assert PROTOCOL_MIN <= self.protocol_max <= PROTOCOL_MAX, f"no protocol version {self.protocol_max}"


@dataclass(frozen=True, slots=True)
class Agreement:
    """The other side, and the version both speak. payload_bytes_max: what it takes in one frame."""

    protocol: int
    instance: str
    epoch: str
    payload_bytes_max: int
    software: str


def hello(own: Identity, payload_bytes_max: int) -> Hello:
    """What the side that connects says first. payload_bytes_max: what it takes in one frame."""
    return Hello(
        magic=MAGIC,
        protocol_min=PROTOCOL_MIN,
        protocol_max=own.protocol_max,
        cluster=own.cluster,
        instance=own.instance,
        epoch=own.epoch,
        payload_bytes_max=payload_bytes_max,
        software=own.software,
    )


def answer(own: Identity, payload_bytes_max: int, theirs: Hello) -> tuple[HelloAck, Agreement]:
    """What the side that listens answers. Raises Conflict or BadRequest when the two do not belong together."""
    if theirs.magic != MAGIC:
        raise BadRequest("the first frame is not a greeting of this protocol")
    _check_cluster(own, theirs.cluster)
    protocol = min(own.protocol_max, theirs.protocol_max)
    if protocol < max(PROTOCOL_MIN, theirs.protocol_min):
        raise Conflict(
            f"no common protocol version: {own.instance} ({own.software}) speaks {PROTOCOL_MIN} to {own.protocol_max}, "
            f"{theirs.instance} ({theirs.software}) {theirs.protocol_min} to {theirs.protocol_max}; go there by the "
            "version in between, or set -server.rpc-protocol-max"
        )
    ack = HelloAck(protocol, own.cluster, own.instance, own.epoch, payload_bytes_max, own.software)
    return ack, Agreement(protocol, theirs.instance, theirs.epoch, theirs.payload_bytes_max, theirs.software)


def accept(own: Identity, ack: HelloAck) -> Agreement:
    """What the side that connects makes of the answer. Raises Conflict when the two do not belong together."""
    _check_cluster(own, ack.cluster)
    if not PROTOCOL_MIN <= ack.protocol <= own.protocol_max:
        raise Conflict(f"{ack.instance} chose protocol version {ack.protocol}, which was not offered")
    return Agreement(ack.protocol, ack.instance, ack.epoch, ack.payload_bytes_max, ack.software)


def refusal_reason(error: MimirError) -> str:
    """Value of the metric's label."""
    return "incompatible" if isinstance(error, Conflict) else "malformed"


def _check_cluster(own: Identity, theirs: str) -> None:
    if own.check_cluster and theirs != own.cluster:
        raise Conflict(
            f'cluster labels differ: "{theirs}" calls "{own.cluster}" ({own.instance}); all processes of '
            "a cluster need the same -memberlist.cluster-label"
        )
