"""Who must confirm what, and what is missing in the answers. Pure.

Whom a hand-over waits for differs by what they could do wrong:

- a distributor without a heartbeat is not waited for: should it come back and push with an old view, the ingester
  refuses, and the push is stored in the other zones;
- a store-gateway without one is not waited for either: queriers do not ask it, and blocks that it does not have are
  asked of others. Each block must be served by somebody;
- a querier is waited for whatever its heartbeat says, as long as it is in the ring: should it come back with an old
  view it would miss samples. One that is dead leaves the ring by itself after a while, or is forgotten by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from mimir_rw.components.ingester.hand_over.core import TenantBlocks, Waiting
from mimir_rw.ring.desc import InstanceDesc, InstanceState
from mimir_rw.ring.operations import REPORTING, WRITE_NO_EXTEND
from mimir_rw.ring.view import RingView
from mimir_rw.rpc.contracts.hand_over import BlocksAsked, BlocksServed, ReadOnlySeen, RecordKnown

NAMED_MAX = 5
"""Blocks or tenants named in one line."""

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Reply(Generic[A]):
    """What one of those asked has said. answer: or why there is none."""

    instance: InstanceDesc
    answer: A | str


def refusal(view: RingView, instance_id: str, zone: str, *, now_s: int) -> str | None:
    """Why the ingester must not leave, or None: others have to take its part of the keys."""
    others = [
        other
        for other in view.healthy_instances(WRITE_NO_EXTEND, now_s=now_s)
        if other.id != instance_id and not other.read_only
    ]
    settings = view.settings
    if settings.zone_awareness:
        if any(other.zone == zone for other in others):
            return None
        return (
            f"this is the last ingester of {zone} that takes writes: start another one there first, or let the whole "
            "zone go without a hand-over"
        )
    if len(others) >= settings.replication_factor:
        return None
    return (
        f"{len(others)} other ingesters take writes, and {settings.replication_factor} are needed to hold the copies: "
        "start another one first"
    )


def distributors(view: RingView, *, now_s: int) -> tuple[InstanceDesc, ...]:
    """To be asked whether they see the ingester read-only."""
    return view.healthy_instances(REPORTING, now_s=now_s)


def store_gateways(view: RingView, *, now_s: int) -> tuple[InstanceDesc, ...]:
    """To be asked what they serve: those that queriers ask."""
    return view.healthy_instances(WRITE_NO_EXTEND, now_s=now_s)


def queriers(view: RingView) -> tuple[InstanceDesc, ...]:
    """To be asked whether they know the record."""
    return tuple(each for each in view.instances if each.state is not InstanceState.LEFT)


def distributors_waiting(replies: Sequence[Reply[ReadOnlySeen]]) -> tuple[Waiting, ...]:
    waiting = []
    for reply in replies:
        who, answer = _name("distributor", reply.instance), reply.answer
        if isinstance(answer, str):
            waiting.append(Waiting(who, answer))
        elif not answer.seen:
            waiting.append(Waiting(who, "does not see yet that this ingester takes no more writes"))
        elif answer.under_way:
            waiting.append(Waiting(who, f"{answer.under_way} pushes are still on their way here"))
    return tuple(waiting)


def store_gateways_waiting(
    asked: Sequence[BlocksAsked], replies: Sequence[Reply[Sequence[BlocksServed]]]
) -> tuple[Waiting, ...]:
    """replies: to all of what was asked, of each one asked."""
    if not replies:
        return (Waiting("store-gateways", "there is none that works in their ring"),)
    waiting: list[Waiting] = []
    covered: set[str] = set()
    for reply in replies:
        who = _name("store-gateway", reply.instance)
        if isinstance(reply.answer, str):
            waiting.append(Waiting(who, reply.answer))
            continue
        by_tenant = {each.tenant: each for each in reply.answer}
        old, pending, blocks = [], [], 0
        for each in asked:
            served = by_tenant.get(each.range_.tenant)
            if served is None or served.index_version < each.range_.index_version:
                old.append(each.range_.tenant)
                continue
            covered.update(served.served, served.gone)
            if served.pending:
                pending.append(each.range_.tenant)
                blocks += served.pending
        if old:
            waiting.append(Waiting(who, f"has too old an index of {_few(old, 'tenant')}"))
        if pending:
            waiting.append(Waiting(who, f"has still to load {blocks} blocks of {_few(pending, 'tenant')}"))
    nobodys = [block for each in asked for block in each.blocks if block not in covered]
    if nobodys and not waiting:
        waiting.append(Waiting("store-gateways", f"none of them serves {_few(nobodys, 'block')}"))
    return tuple(waiting)


def queriers_waiting(replies: Sequence[Reply[RecordKnown]]) -> tuple[Waiting, ...]:
    waiting = []
    for reply in replies:
        who, answer = _name("querier", reply.instance), reply.answer
        if isinstance(answer, str):
            waiting.append(Waiting(who, f"{answer}; if it will not come back, forget it on /querier/ring"))
        elif not answer.known:
            waiting.append(Waiting(who, "has not heard yet where the samples are"))
        elif answer.behind:
            waiting.append(Waiting(who, f"has too old an index of {_few(answer.behind, 'tenant')}"))
    return tuple(waiting)


def index_waiting(tenant: TenantBlocks, compactor: InstanceDesc, missing: Sequence[str]) -> Waiting:
    """The index that a compactor has written lacks blocks."""
    text = f"its index of tenant {tenant.tenant} lacks {_few(missing, 'block')}"
    return Waiting(_name("compactor", compactor), text)


def unanswered(kind: str, instance: InstanceDesc, why: str) -> Waiting:
    return Waiting(_name(kind, instance), why)


def _name(kind: str, instance: InstanceDesc) -> str:
    return f"{kind} {instance.id} ({instance.addr})"


def _few(names: Sequence[str], what: str) -> str:
    text = f"{what}{'s' if len(names) > 1 else ''} {', '.join(names[:NAMED_MAX])}"
    more = len(names) - NAMED_MAX
    return f"{text} and {more} more" if more > 0 else text
