"""The statistics of a pool over the poolers on all hosts of its cluster.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cenote.stats.observer import PoolNumbers

_LONGEST = "longest_wait"
_WEIGHTS = {  # averages, by what they are averages over
    "average_transaction": "transaction_rate",
    "average_query": "query_rate",
    "average_wait": "query_rate",
}


def summed(found: Iterable[Mapping[str, PoolNumbers]]) -> dict[str, PoolNumbers]:
    """Return the statistics of each pool by name, those of one pooler as they are."""
    every = list(found)
    names = sorted({name for numbers in every for name in numbers})
    return {name: _sum([numbers[name] for numbers in every if name in numbers]) for name in names}


def _sum(parts: list[PoolNumbers]) -> PoolNumbers:
    if len(parts) == 1:
        return parts[0]
    fields = PoolNumbers.__struct_fields__
    total = {name: sum(getattr(part, name) for part in parts) for name in fields}
    total[_LONGEST] = max(getattr(part, _LONGEST) for part in parts)
    for name, weight in _WEIGHTS.items():
        weights = [getattr(part, weight) for part in parts]
        weighed = sum(getattr(part, name) * share for part, share in zip(parts, weights, strict=True))
        total[name] = weighed / sum(weights) if sum(weights) else max(getattr(part, name) for part in parts)
    return PoolNumbers(**total)
