"""Which changes of a machine are worth an event."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from cenote.engine.part import Part
from cenote.engine.parts import FOLDERS, MANAGED_RESTART, OUTDATED_BINARIES, POOLER, RESTART, SWITCHING
from cenote.engine.parts import SERVER as SERVER_PART
from cenote.model.changes import (
    Change,
    MakeDirectory,
    Program,
    Reload,
    Restart,
    RestartByPatroni,
    Start,
    Stop,
)
from cenote.model.event_records import EventType

HERE = Path("/nowhere")


def program(name: str) -> Program:
    return Program(
        name=name, argv=(), directory=HERE, pid_file=HERE, log=HERE, stamp=HERE, stop_signal=signal.SIGINT
    )


SERVER, BOUNCER = program("PostgreSQL"), program("PgBouncer")


def by_patroni(*, for_update: bool = False) -> RestartByPatroni:
    return RestartByPatroni(SERVER, "", HERE, False, "node-2", "max_connections", for_update)


@pytest.mark.parametrize(
    ("part", "change", "what", "type"),
    [
        (SERVER_PART, Start(SERVER, ""), "started PostgreSQL", EventType.CLUSTER_POWERON),
        (POOLER, Start(BOUNCER, ""), "started PgBouncer", None),
        (RESTART, Restart(SERVER, BOUNCER, ""), "restarted PostgreSQL, for settings that need it", None),
        (MANAGED_RESTART, by_patroni(), "restarted node-2, for max_connections", None),
        (SWITCHING, by_patroni(), "restarted node-2, for max_connections", None),
        (
            MANAGED_RESTART,
            by_patroni(for_update=True),
            "restarted node-2, for max_connections",
            EventType.CLUSTER_MAINTENANCE_PERFORM,
        ),
        (
            OUTDATED_BINARIES,
            Restart(SERVER, BOUNCER, ""),
            "restarted PostgreSQL, for an update",
            EventType.CLUSTER_MAINTENANCE_PERFORM,
        ),
        (
            OUTDATED_BINARIES,
            Stop(BOUNCER),
            "restarted PgBouncer, for an update",
            EventType.CLUSTER_MAINTENANCE_PERFORM,
        ),
    ],
)
def test_what_clients_may_have_noticed_is_told_in_words(
    part: Part[Any], change: Change, what: str, type: EventType | None
) -> None:
    note = part.event_of(change)
    assert note is not None
    assert (note.what, note.type) == (what, type)
    assert note.token_id is None


@pytest.mark.parametrize(
    ("part", "change"),
    [(SERVER_PART, Reload(SERVER, "")), (POOLER, Stop(BOUNCER)), (FOLDERS, MakeDirectory(HERE))],
)
def test_what_nobody_notices_is_no_event(part: Part[Any], change: Change) -> None:
    assert part.event_of(change) is None
