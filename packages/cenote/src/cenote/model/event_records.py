"""Records of what happened: events, and what a change tells of itself."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from cenote.model.record import Record


class EventType(StrEnum):
    """The types of events that clients of the DigitalOcean API know."""

    CLUSTER_CREATE = "cluster_create"
    CLUSTER_UPDATE = "cluster_update"
    CLUSTER_DELETE = "cluster_delete"
    CLUSTER_MAINTENANCE_PERFORM = "cluster_maintenance_perform"
    CLUSTER_MASTER_PROMOTION = "cluster_master_promotion"
    CLUSTER_POWERON = "cluster_poweron"
    CLUSTER_POWEROFF = "cluster_poweroff"


class Note(Record, frozen=True, kw_only=True):
    """What an event or an entry of the audit trail says of a change.

    For an API call, ``what`` is the request as method and path, with the caller's token and address; for a
    change that the service makes by itself it is in words, and those are empty.  ``refused`` is the status of
    a rejected call, ``count`` the number of such calls.
    """

    what: str
    type: EventType | None = None  # None: none of them fits; customers see an update
    request_id: str = ""
    address: str = ""
    token_id: UUID | None = None
    token_name: str = ""
    refused: int = 0
    count: int = 1


class Difference(Record, frozen=True, kw_only=True):
    """One thing that a change has changed: ``what`` in words, and its values before and after.

    ``before`` is None for what was added, ``after`` for what was removed, and both for a change whose values
    are not told, such as that of a password.
    """

    what: str
    before: str | None = None
    after: str | None = None


class Event(Record, frozen=True, kw_only=True):
    """A change, written in its transaction.  ``id`` sorts by time.

    ``changes`` are the differences between the records before and after, and ``more`` the number of those
    that are left out.  Earlier versions wrote none.  ``parts`` are the parts of a node that the change
    concerns, ``removing`` the ids of the removals that it has begun.  ``revision``, that of the transaction,
    is not stored, but known once an event is read.
    """

    id: str
    at: datetime
    note: Note
    cluster_id: UUID | None = None
    cluster_name: str = ""
    changes: tuple[Difference, ...] = ()
    more: int = 0
    parts: tuple[str, ...] = ()
    removing: tuple[UUID, ...] = ()
    revision: int = 0
