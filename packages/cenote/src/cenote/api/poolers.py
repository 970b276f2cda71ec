"""Questions to the poolers on all hosts of a cluster.

A host that does not answer is named beside the sums over the others: what is not known is not zero.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from cenote.api import silence
from cenote.api.service import Service
from cenote.errors import Unavailable
from cenote.model.records import Cluster, Node
from cenote.stats import pool_sums
from cenote.stats.observer import PoolNumbers

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answers(Generic[T]):
    """The answers by node, the writer's first if there is one, and who did not answer, in words."""

    by_node: Mapping[str, T]
    not_counted: list[str]


@dataclass(frozen=True, slots=True)
class PoolSums:
    """The statistics of each pool over so many poolers, and which were not counted, in words."""

    pools: Mapping[str, PoolNumbers]
    poolers: int
    not_counted: list[str]


async def ask(service: Service, cluster: Cluster, question: Callable[[str], Awaitable[T]]) -> Answers[T]:
    """Ask the poolers of all hosts at once, each by the name of a node; Unavailable if none answers."""
    nodes = service.pooler_nodes(cluster)
    found = await asyncio.gather(*(question(node.name) for node in nodes), return_exceptions=True)
    answers: dict[str, T] = {}
    silent: list[Unavailable] = []
    not_counted: list[str] = []
    for node, one in zip(nodes, found, strict=True):
        if isinstance(one, Unavailable):
            silent.append(one)
            not_counted.append(in_words(service, node, one.message))
        elif isinstance(one, BaseException):
            raise one
        else:
            answers[node.name] = one
    if not answers:
        raise silent[0]
    return Answers(answers, not_counted)


def in_words(service: Service, node: Node, why: str) -> str:
    """Return what is said of a pooler that is not in a sum."""
    return f"{silence.name_of(service.store, node.host)}: {why}"


async def pool_numbers(service: Service, cluster: Cluster) -> PoolSums:
    """Return the statistics of a cluster's pools over the poolers on all of its hosts."""
    found = await ask(service, cluster, partial(service.observer.pools, cluster.id))
    return PoolSums(pool_sums.summed(found.by_node.values()), len(found.by_node), found.not_counted)
