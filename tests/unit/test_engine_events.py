"""Which changes of a machine are worth an event."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from cenote.engine import events, folders, outdated_binaries, pooler, restart, server
from cenote.model.changes import Change, MakeDirectory, Program, Reload, Restart, Start, Stop
from cenote.model.records import EventType

HERE = Path("/nowhere")


def program(name: str) -> Program:
    return Program(
        name=name, argv=(), directory=HERE, pid_file=HERE, log=HERE, stamp=HERE, stop_signal=signal.SIGINT
    )


SERVER, BOUNCER = program("PostgreSQL"), program("PgBouncer")


@pytest.mark.parametrize(
    ("part", "change", "what", "type"),
    [
        (server, Start(SERVER, ""), "started PostgreSQL", EventType.CLUSTER_POWERON),
        (pooler, Start(BOUNCER, ""), "started PgBouncer", None),
        (restart, Restart(SERVER, BOUNCER, ""), "restarted PostgreSQL, for settings that need it", None),
        (
            outdated_binaries,
            Restart(SERVER, BOUNCER, ""),
            "restarted PostgreSQL, for an update",
            EventType.CLUSTER_MAINTENANCE_PERFORM,
        ),
        (
            outdated_binaries,
            Stop(BOUNCER),
            "restarted PgBouncer, for an update",
            EventType.CLUSTER_MAINTENANCE_PERFORM,
        ),
    ],
)
def test_what_clients_may_have_noticed_is_told_in_words(
    part: object, change: Change, what: str, type: EventType | None
) -> None:
    note = events.note_of(part, change)  # type: ignore[arg-type]
    assert note is not None
    assert (note.what, note.type) == (what, type)
    assert note.token_id is None


@pytest.mark.parametrize(
    ("part", "change"),
    [(server, Reload(SERVER, "")), (pooler, Stop(BOUNCER)), (folders, MakeDirectory(HERE))],
)
def test_what_nobody_notices_is_no_event(part: object, change: Change) -> None:
    assert events.note_of(part, change) is None  # type: ignore[arg-type]
