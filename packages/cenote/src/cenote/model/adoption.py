"""What the server of a node has of us and its cluster's record does not name, as an agent reports it.

A record can be older than the data: after a restore of the store, or because it is that of a fork, whose data
are from another moment.  What is found so is adopted into the record (``rules/adoption.py``), never dropped.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from cenote.model.records import Access


class FoundUser(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A role that we made: what of its record was brought about, by the ledger.

    ``allow_replication`` is None where SQL decides.
    """

    name: str
    number: int = 0
    allow_replication: bool | None = None
    access: Access | None = None


class FoundDatabase(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A database that we made; ``owner`` is empty where it was made for the administrator."""

    name: str
    owner: str = ""
    number: int = 0


class Found(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a server has that the record has not; and, where that is a fork, the reverse.

    ``restored_for`` is when the restoration was asked for after which this was looked up; None for a cluster
    that is not being restored.  ``missing_users`` and ``missing_databases`` are of the record, and neither
    are on the server nor were made there; ``pools`` are those whose user or database is not there.
    """

    users: tuple[FoundUser, ...] = ()
    databases: tuple[FoundDatabase, ...] = ()
    restored_for: datetime | None = None
    missing_users: tuple[str, ...] = ()
    missing_databases: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
