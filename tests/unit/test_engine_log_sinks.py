"""From where a log sink begins, and what is left of one that is gone."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from cenote.engine.plan import log_positions
from cenote.engine.plan.context import NodeContext
from cenote.logs import positions
from cenote.logs.positions import LogPosition, Positions
from cenote.model.changes import Remove, WriteFile
from cenote.model.records import LogSink, LogSource, SinkType
from tests.support.wanted import CLUSTER, WANTED

ENDS = {LogSource.POSTGRES: LogPosition(file=7, at=1000), LogSource.PGBOUNCER: LogPosition()}
IDS = [uuid4() for _ in range(4)]
some = st.frozensets(st.sampled_from(IDS))


def wanted(ids: frozenset[UUID]) -> NodeContext:
    made = tuple(LogSink(id=id, name=str(id), type=SinkType.RSYSLOG, sealed_config="") for id in ids)
    return replace(WANTED, cluster=msgspec.structs.replace(CLUSTER, sinks=made))


@given(some, some)
def test_each_sink_has_a_file_and_nothing_else_has_one(
    there: frozenset[UUID], known: frozenset[UUID]
) -> None:
    files = set(known)
    for change in log_positions.plan(wanted(there), log_positions.Seen(known, ENDS)):
        assert isinstance(change, WriteFile | Remove)
        id = WANTED.paths.sink_id(change.path.name)
        assert id is not None
        if isinstance(change, WriteFile):
            assert id not in files  # how far a sink has got is never written over
            files.add(id)
        else:
            files.remove(id)
    assert files == there
    assert list(log_positions.plan(wanted(there), log_positions.Seen(frozenset(files), ENDS))) == []


def test_a_new_sink_begins_at_the_end_of_what_is_written() -> None:
    [change] = log_positions.plan(wanted(frozenset(IDS[:1])), log_positions.Seen(frozenset(), ENDS))
    assert isinstance(change, WriteFile)
    assert change.mode == 0o600
    found = positions.decode(change.content)
    assert (found.at(LogSource.POSTGRES), found.at(LogSource.PGBOUNCER)) == (
        LogPosition(file=7, at=1000),
        LogPosition(),
    )


def test_a_file_that_is_damaged_means_the_beginning() -> None:
    for content in (b"", b"{", b"[]", b'{"places": {"postgres": 1}}', b'{"places": {"other": {}}}'):
        assert positions.decode(content) == Positions(places={})


def test_only_the_files_of_sinks_are_taken_for_such() -> None:
    assert WANTED.paths.sink_id(f"sink-{IDS[0]}.json") == IDS[0]
    for name in (
        "postgresql.log",
        "sink-.json",
        "sink-x.json",
        f"sink-{IDS[0]}.json.1",
        f"sink-node-2-{IDS[0]}.json",
        "sink-" + "-" * 36 + ".json",
    ):
        assert WANTED.paths.sink_id(name) is None
