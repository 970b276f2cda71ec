"""The names under which a cluster's pools lead to a standby."""

from __future__ import annotations

from collections.abc import Iterable

SUFFIX = ".standby"  # no pool is given a name that ends so
_LONGEST = 63


def standby_pools(names: Iterable[str]) -> dict[str, str]:
    """Return the name under which each pool leads to a standby, by its own.

    There is none for a pool whose name is too long, or would be that of a pool which was made before such
    names were reserved.
    """
    known = frozenset(names)
    found = {name: f"{name}{SUFFIX}" for name in known}
    return {name: other for name, other in found.items() if len(other) <= _LONGEST and other not in known}
