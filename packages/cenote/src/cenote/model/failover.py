"""Patroni, which runs the nodes of a cluster with several: what a host has for it, and the store says."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from cenote.model.record import Secret


@dataclass(frozen=True, slots=True)
class HostFailover:
    """``python`` is that of Patroni's environment, ``launcher`` the program that it runs, in Python.

    ``endpoints`` are where Patroni reaches the store: the socket of this host's etcd, or with ``in_fleet``
    the addresses of its members, by TLS.  It may want a login (``wants_login``): a cluster's record has the
    password, and ``open`` opens that.  ``namespace`` is the folder of the store that all of Patroni's keys
    stand in.
    """

    python: Path
    launcher: bytes = field(repr=False)
    endpoints: Callable[[], Sequence[Path | str]]
    in_fleet: bool
    namespace: str
    open: Callable[[str], Secret] = field(repr=False)
    wants_login: bool = True

    @staticmethod
    def username(cluster_id: UUID) -> str:
        """Return the user of the store that Patroni of a cluster's nodes is."""
        return f"patroni-{cluster_id}"


@dataclass(frozen=True, slots=True)
class Agreed:
    """What stands in the store of a cluster that Patroni runs.

    ``identifier`` is that of PostgreSQL's system, "" before Patroni has taken the cluster over; ``shared`` is
    the configuration that all nodes follow.  ``may_lead`` are the nodes of which each commit waits for some,
    so that one of them may take over.
    """

    leader: str | None = None
    identifier: str = ""
    shared: bytes | None = field(default=None, repr=False)
    may_lead: frozenset[str] = frozenset()


NOTHING_AGREED = Agreed()


def synchronous_standbys(state: bytes | None) -> frozenset[str]:
    """Return the nodes that Patroni's state of synchronous replication names; it lags behind the servers."""
    try:
        return frozenset((json.loads(state or b"{}").get("sync_standby") or "").split(",")) - {""}
    except (ValueError, AttributeError):
        return frozenset()
