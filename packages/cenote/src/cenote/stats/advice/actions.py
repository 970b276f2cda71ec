"""Actions that advice offers: resizing a pool, or finding connections elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from cenote.model.records import PoolMode
from cenote.stats.advice.conditions import spare_servers
from cenote.stats.advice.recommendation import Action, ActionKind
from cenote.stats.facts import Facts, PoolFacts, larger_sizes


def resize(one: PoolFacts, size: int) -> Action:
    verb = "Grow" if size > one.pool.size else "Shrink"
    return Action(
        kind=ActionKind.RESIZE_POOL,
        pool=one.pool.name,
        size=size,
        words=f"{verb} {one.pool.name} from {one.pool.size} to {size}",
    )


def growth(one: PoolFacts, by: int) -> tuple[Action, ...]:
    return (resize(one, one.pool.size + by),) if by > 0 else ()


def other_sources(one: PoolFacts, facts: Facts, wanted: int) -> Iterator[Action]:
    """Offer connections when none are left: from the pool with the most to spare, or a larger cluster."""
    others = [other for other in facts.pools if other is not one and spare_servers(other) > 0]
    if others:
        idlest = max(others, key=spare_servers)
        yield resize(idlest, idlest.pool.size - min(spare_servers(idlest), wanted))
    for slug, capacity in larger_sizes(facts.cluster_size):
        if capacity >= facts.capacity + wanted:
            yield Action(
                kind=ActionKind.RESIZE_CLUSTER,
                cluster_size=slug,
                words=f"Resize the cluster to {slug}, with {capacity} connections for pools",
            )
            return


def to_transaction_mode(one: PoolFacts) -> Action:
    return Action(
        kind=ActionKind.CHANGE_MODE,
        pool=one.pool.name,
        mode=PoolMode.TRANSACTION,
        words="Change to transaction mode",
    )
