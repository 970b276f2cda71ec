"""The changes of a node that are worth an event: those that clients of a cluster may have noticed."""

from __future__ import annotations

from cenote.model.changes import Change, RemoveMark, Rename, Restart, RestartByPatroni, Start, Stop
from cenote.model.event_records import EventType, Note


def no_event(_change: Change) -> Note | None:
    return None


def of_server(change: Change) -> Note | None:
    if isinstance(change, Start):
        return Note(what="started PostgreSQL", type=EventType.CLUSTER_POWERON)
    return Note(what=change.told) if isinstance(change, RemoveMark) else None


def of_base_backup(change: Change) -> Note | None:
    if isinstance(change, Rename) and change.source.name.startswith("pg"):
        return Note(
            what="set its data aside, to copy those of the primary, which they could not follow any more"
        )
    return None


def of_restart(change: Change) -> Note | None:
    if isinstance(change, Restart):
        return Note(what="restarted PostgreSQL, for settings that need it")
    return None


def of_rolling_restart(change: Change) -> Note | None:
    if isinstance(change, RestartByPatroni):
        what = f"restarted {change.node}, for {change.why}"
        return Note(what=what, type=EventType.CLUSTER_MAINTENANCE_PERFORM if change.for_update else None)
    return None


def of_outdated_binaries(change: Change) -> Note | None:
    if isinstance(change, Restart | Stop):
        name = "PostgreSQL" if isinstance(change, Restart) else change.program.name
        return Note(what=f"restarted {name}, for an update", type=EventType.CLUSTER_MAINTENANCE_PERFORM)
    return None


def of_pooler(change: Change) -> Note | None:
    return Note(what="started PgBouncer") if isinstance(change, Start) else None
