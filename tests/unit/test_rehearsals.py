"""How a rehearsal of an upgrade goes on, and what comes of it."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from msgspec.structs import replace

from cenote.errors import Busy
from cenote.model.records import Cluster, MajorUpgrade, Restoration
from cenote.model.status_records import NodeStatus, RehearsalReport, UpgradeReport
from cenote.rules import rehearsals
from cenote.rules.rehearsals import Step
from tests.support.wanted import CLUSTER, NOW

FORK = replace(CLUSTER, id=UUID(int=7), name="shop-rehearsal", rehearsal_of=CLUSTER.id)
SOURCE = rehearsals.begun(CLUSTER, "17", FORK.id, NOW)
MARK = MajorUpgrade(source="15", asked_at=NOW)
BEFORE = RehearsalReport(version="15", counts={"roles": 2})
AFTER = replace(BEFORE, version="17", is_checked=True)
UPGRADED = replace(FORK, version="17")
DONE = UpgradeReport(asked_at=NOW, done=True, held_ms=4200)


def seen(rehearsal: RehearsalReport | None = None, **fields: object) -> NodeStatus:
    return replace(NodeStatus(reached=1, at=NOW, data_version="15", rehearsal=rehearsal), **fields)


@pytest.mark.parametrize(
    ("fork", "source", "report", "expected"),
    [
        pytest.param(FORK, None, seen(BEFORE), Step.REMOVE, id="source gone"),
        pytest.param(FORK, replace(SOURCE, deleted_at=NOW), seen(BEFORE), Step.REMOVE, id="source deleted"),
        pytest.param(FORK, CLUSTER, seen(BEFORE), Step.WAIT, id="source about to name it"),
        pytest.param(
            replace(FORK, restoration=Restoration(node="node-1", source=CLUSTER.id, asked_at=NOW)),
            SOURCE,
            seen(BEFORE),
            Step.WAIT,
            id="being copied",
        ),
        pytest.param(FORK, SOURCE, seen(), Step.WAIT, id="not looked at"),
        pytest.param(FORK, SOURCE, seen(BEFORE), Step.UPGRADE, id="looked at"),
        pytest.param(
            replace(UPGRADED, major_upgrade=MARK), SOURCE, seen(BEFORE), Step.WAIT, id="being upgraded"
        ),
        pytest.param(UPGRADED, SOURCE, seen(BEFORE, major_upgrade=DONE), Step.WAIT, id="upgraded"),
        pytest.param(UPGRADED, SOURCE, seen(AFTER, major_upgrade=DONE), Step.END, id="checked"),
        pytest.param(
            FORK,
            SOURCE,
            seen(BEFORE, major_upgrade=UpgradeReport(asked_at=NOW, refused="no room")),
            Step.END,
            id="refused",
        ),
        pytest.param(
            UPGRADED,
            rehearsals.ended(SOURCE, UPGRADED, seen(AFTER), NOW),
            seen(AFTER),
            Step.REMOVE,
            id="over",
        ),
    ],
)
def test_what_is_next_with_a_fork(
    fork: Cluster, source: Cluster | None, report: NodeStatus, expected: Step
) -> None:
    assert rehearsals.step(fork, source, report, fork.created_at) is expected


def test_fork_that_no_record_ever_names_is_removed() -> None:
    begun_anew = rehearsals.begun(CLUSTER, "17", UUID(int=8), NOW)
    for source in (CLUSTER, begun_anew):
        for waited, expected in ((timedelta(0), Step.WAIT), (rehearsals.PATIENCE, Step.REMOVE)):
            assert rehearsals.step(FORK, source, None, FORK.created_at + waited) is expected
    late = FORK.created_at + timedelta(days=1)
    assert rehearsals.step(FORK, SOURCE, seen(), late) is Step.WAIT  # its data may take days


def test_result_says_how_long_clients_will_wait_and_what_was_found() -> None:
    later = NOW + timedelta(seconds=90)
    good = rehearsals.ended(SOURCE, UPGRADED, seen(AFTER, major_upgrade=DONE), later)
    assert good.rehearsal is not None
    words = rehearsals.in_words(good.rehearsal)
    assert words == "an upgrade to PostgreSQL 17 takes 4.2 s without a server; rehearsed in 1.5 minutes"
    found = replace(AFTER, findings=("pg_amcheck: a broken index",))
    bad = rehearsals.ended(SOURCE, UPGRADED, seen(found, major_upgrade=DONE), later).rehearsal
    assert bad is not None
    assert rehearsals.in_words(bad).endswith("; found: pg_amcheck: a broken index")
    sorting = seen(AFTER, major_upgrade=replace(DONE, to_reindex=("de of database shop (was 1)",)))
    sorts = rehearsals.ended(SOURCE, UPGRADED, sorting, later).rehearsal
    assert sorts is not None
    assert sorts.findings == (
        "indexes by these collations have to be built anew: de of database shop (was 1)",
    )
    refused = seen(BEFORE, major_upgrade=UpgradeReport(asked_at=NOW, refused="no room"))
    failed = rehearsals.ended(SOURCE, FORK, refused, later).rehearsal
    assert failed is not None
    assert (failed.held_ms, failed.failure) == (0, "no room")
    assert rehearsals.in_words(failed) == "the upgrade to PostgreSQL 17 would fail: no room"
    gone = rehearsals.ended(SOURCE, None, None, later).rehearsal
    assert gone is not None
    assert gone.failure == "its fork was deleted before it had ended"


def test_one_rehearsal_at_a_time() -> None:
    with pytest.raises(Busy, match="being rehearsed already"):
        rehearsals.begun(SOURCE, "18", FORK.id, NOW)
    over = rehearsals.ended(SOURCE, None, None, NOW)
    assert rehearsals.ended(over, UPGRADED, seen(AFTER), NOW) is over
    assert rehearsals.begun(over, "18", FORK.id, NOW).rehearsal is not None


def test_names_of_forks_fit() -> None:
    assert rehearsals.fork_name(replace(CLUSTER, name="a" * 63)) == "a" * 53 + "-rehearsal"


def test_what_is_lost_or_new_is_told() -> None:
    found = rehearsals.differences({"roles": 2, "functions of database shop": 3}, {"roles": 2})
    assert found == ["functions of database shop: 3 before, 0 after"]
    assert rehearsals.differences({"roles": 2}, {"roles": 2}) == []
