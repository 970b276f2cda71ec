"""Which changes of a machine are worth an event: those that clients of a cluster may have noticed."""

from __future__ import annotations

from types import ModuleType

from cenote.engine import outdated_binaries, pooler, server
from cenote.model.changes import Change, Restart, Start, Stop
from cenote.model.records import EventType, Note


def note_of(part: ModuleType, change: Change) -> Note | None:
    """Return what is to be remembered of a change to a node that has worked before."""
    if part is outdated_binaries and isinstance(change, Restart | Stop):
        name = "PostgreSQL" if isinstance(change, Restart) else change.program.name
        return Note(what=f"restarted {name}, for an update", type=EventType.CLUSTER_MAINTENANCE_PERFORM)
    if isinstance(change, Restart):
        return Note(what="restarted PostgreSQL, for settings that need it")
    if part is server and isinstance(change, Start):
        return Note(what="started PostgreSQL", type=EventType.CLUSTER_POWERON)
    if part is pooler and isinstance(change, Start):
        return Note(what="started PgBouncer")
    return None
