"""What is planned for an upgrade to another major version, stage by stage, without a machine."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from cenote.engine.plan import major_upgrade
from cenote.engine.plan.major_upgrade import COMPATIBLE, COMPLETE, FAILED, Facts, Seen
from cenote.model.changes import (
    Change,
    EndProcesses,
    Exchange,
    HoldPools,
    MakeEmptyData,
    Refuse,
    Remove,
    Sql,
    SqlAlone,
    Start,
    Stop,
    Wait,
    WriteFile,
)
from cenote.model.records import MajorUpgrade
from cenote.model.status_records import UpgradeReport
from cenote.model.upgrade_state import IndexCollation, UpgradeStage, UpgradeState, decode
from tests.support.wanted import CLUSTER, MOMENT, NOW, SITE, WANTED, kinds

BINARIES = {"15": Path("/usr/lib/postgresql/15/bin"), "17": Path("/usr/lib/postgresql/17/bin")}
MARKED = msgspec.structs.replace(CLUSTER, version="17", major_upgrade=MajorUpgrade(source="15", asked_at=NOW))
HOST = replace(SITE, binaries=BINARIES)
BEFORE = replace(WANTED, cluster=MARKED, host=HOST, data_version="15")
AFTER = replace(BEFORE, data_version="17")
OLD = Seen(version="15", at=MOMENT, running=True, ready=True)
NEW = replace(OLD, version="17")
FACTS = Facts(("defaultdb", "orders", "postgres"), (("role", "app"),), "1.10")


def down(seen: Seen) -> Seen:
    return replace(seen, running=False, ready=False, ours=False)


def state(stage: UpgradeStage, **fields: object) -> UpgradeState:
    found = UpgradeState(asked_at=NOW, version="17", stage=stage, databases=FACTS.databases)
    return msgspec.structs.replace(found, **fields)


def planned(seen: Seen) -> list[Change]:
    """What is done up to a wait, which ends the pass, and the wait."""
    context, done = (AFTER if seen.version == "17" else BEFORE), []
    for change in major_upgrade.plan(context, seen):
        done.append(change)
        if isinstance(change, Wait | Refuse):
            break
    return done


def noted(changes: list[Change]) -> UpgradeState:
    """Return the state that is written last."""
    written = [change.content for change in changes if isinstance(change, WriteFile)]
    found = decode(written[-1])
    assert found is not None
    return found


def test_new_data_are_made_and_checked_beside_the_server() -> None:
    changes = planned(replace(OLD, facts=FACTS))
    assert noted(changes).stage is UpgradeStage.CHECKING
    assert kinds(changes)[-4:] == [MakeEmptyData, Sql, Start, Wait]
    assert Stop not in kinds(changes)
    start = next(change for change in changes if isinstance(change, Start))
    assert "--check" in start.program.argv
    assert start.program.argv[0].startswith(str(BINARIES["17"]))


def test_server_that_is_down_is_started_first() -> None:
    assert planned(down(OLD)) == []


def test_everything_in_the_way_is_in_the_refusal() -> None:
    changes = planned(replace(OLD, hindrances=("one thing", "another")))
    assert noted(changes).stage is UpgradeStage.REFUSED
    assert noted(changes).refused == "one thing; another"
    assert Stop not in kinds(changes)


def test_pools_are_held_before_the_server_stops() -> None:
    seen = replace(
        OLD,
        state=state(UpgradeStage.CHECKING),
        output=COMPATIBLE,
        facts=FACTS,
        pools=("pool", "sessions"),
        sessions=frozenset({"sessions"}),
    )
    changes = planned(seen)
    order = [type(change) for change in changes if isinstance(change, HoldPools | WriteFile | Stop | Start)]
    assert order == [HoldPools, WriteFile, Stop, HoldPools, Start]
    first, second = (change for change in changes if isinstance(change, HoldPools))
    assert (first.pools, second.pools) == (("pool",), ("pool", "sessions"))
    assert noted(changes).ledger == FACTS.ledger


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(replace(OLD, output=f"what\n{FAILED}", state=state(UpgradeStage.CHECKING)), id="check"),
        pytest.param(
            down(replace(OLD, output=f"what\n{FAILED}", state=state(UpgradeStage.RUNNING))), id="upgrade"
        ),
    ],
)
def test_failure_of_pg_upgrade_is_a_refusal_in_its_words(seen: Seen) -> None:
    changes = planned(seen)
    assert noted(changes).refused == "what"
    assert Exchange not in kinds(changes)


@pytest.mark.parametrize(
    ("stage", "output"),
    [
        pytest.param(UpgradeStage.CHECKING, "Checking", id="check"),
        pytest.param(UpgradeStage.RUNNING, "Copying", id="upgrade"),
        pytest.param(UpgradeStage.FINISHING, COMPLETE, id="finish"),
    ],
)
def test_what_was_interrupted_is_begun_again_three_times_at_most(stage: UpgradeStage, output: str) -> None:
    seen = down(replace(OLD, state=state(stage), output=output))
    changes = planned(seen)
    assert (noted(changes).stage, noted(changes).tries) == (UpgradeStage.AGAIN, 1)
    assert EndProcesses in kinds(changes)
    last = planned(replace(seen, state=state(stage, tries=2)))
    assert noted(last).stage is UpgradeStage.REFUSED


def test_server_that_pg_upgrade_has_left_is_stopped_and_ours_is_not() -> None:
    seen = replace(OLD, state=state(UpgradeStage.RUNNING), output="Copying", ready=False, ours=False)
    assert Stop in kinds(planned(seen))
    assert Stop not in kinds(planned(replace(seen, ours=True)))


def test_directories_are_exchanged_when_nothing_is_left_to_do() -> None:
    seen = down(replace(OLD, state=state(UpgradeStage.RUNNING, ledger=FACTS.ledger), output=COMPLETE))
    changes = planned(seen)
    assert kinds(changes)[-2:] == [Exchange, Wait]
    assert [change.database for change in changes if isinstance(change, SqlAlone)] == [
        *("template0", "template1", "defaultdb", "orders", "postgres")
    ]
    assert noted(changes).stage is UpgradeStage.STARTING


def test_new_server_that_never_starts_gives_its_place_back() -> None:
    seen = down(replace(NEW, state=state(UpgradeStage.STARTING), ended_at=77, log="no such thing"))
    for number in range(1, major_upgrade.MOST_TRIES + 1):
        changes = planned(seen)
        assert (noted(changes).starts, noted(changes).first_end) == (number, 77)
        assert Exchange not in kinds(changes)
        seen = replace(seen, state=noted(changes))
    changes = planned(seen)
    assert Exchange in kinds(changes)
    assert "no such thing" in noted(changes).refused


@pytest.mark.parametrize("ended_at", [pytest.param(0, id="crashed"), pytest.param(78, id="wrote")])
def test_new_server_that_was_up_keeps_its_place(ended_at: int) -> None:
    tried = state(UpgradeStage.STARTING, starts=major_upgrade.MOST_TRIES, first_end=77)
    changes = planned(down(replace(NEW, state=tried, ended_at=ended_at)))
    assert Exchange not in kinds(changes)


def test_former_data_go_when_the_statistics_are_there() -> None:
    started = planned(replace(NEW, state=state(UpgradeStage.STARTING), outdated={"orders": ("hstore",)}))
    assert [change.database for change in started if isinstance(change, Sql)] == ["orders"]
    assert noted(started).stage is UpgradeStage.STATISTICS
    assert BEFORE.paths.other_data not in [one.path for one in started if isinstance(one, Remove)]
    assert Wait not in kinds(started)  # clients are back meanwhile
    running = replace(NEW, state=noted(started), program=True)
    assert planned(running) == []
    ended = planned(replace(running, program=False))
    assert BEFORE.paths.other_data in [one.path for one in ended if isinstance(one, Remove)]
    assert noted(ended).stage is UpgradeStage.DONE


def test_state_of_another_upgrade_counts_for_nothing() -> None:
    former = state(UpgradeStage.REFUSED, asked_at=NOW - timedelta(days=1), refused="then")
    assert noted(planned(replace(OLD, state=former, facts=FACTS))).stage is UpgradeStage.CHECKING
    assert major_upgrade.report(BEFORE, replace(OLD, state=former))["major_upgrade"].refused == ""  # type: ignore[attr-defined]


def test_no_data_are_touched_without_a_mark_unless_their_version_is_wanted() -> None:
    context = replace(WANTED, host=HOST, data_version="17")
    seen = replace(NEW, left=True, state=state(UpgradeStage.STARTING))
    assert kinds(list(major_upgrade.plan(context, seen))) == [Refuse]
    assert list(major_upgrade.plan(WANTED, OLD)) == []


@pytest.mark.parametrize(
    ("said", "found"),
    [
        pytest.param('Consult the last few lines of "/d/log/one.log" for', "/d/log/one.log", id="log"),
        pytest.param("is in the file:\n    /d/output/list.txt\n", "/d/output/list.txt", id="list"),
        pytest.param("is in the file:\n    /d/../keys/list.txt\n", None, id="outside"),
        pytest.param("is in the file:\n    /etc/list.txt\n", None, id="elsewhere"),
        pytest.param("Clusters are compatible", None, id="none"),
    ],
)
def test_file_that_pg_upgrade_names_is_below_its_data(said: str, found: str | None) -> None:
    assert major_upgrade.file_named(said, Path("/d")) == (None if found is None else Path(found))


def test_collations_whose_library_has_another_version_are_told() -> None:
    same, former = (
        IndexCollation(database="orders", name=name, version="153.120") for name in ("same", "former")
    )
    begun = state(UpgradeStage.STARTING, collations=(same, former))
    newer = msgspec.structs.replace(former, version="153.128")
    after = noted(planned(replace(NEW, state=begun, collations=(same, newer))))
    assert after.stage is UpgradeStage.STATISTICS
    assert after.sorts_anew == (former,)
    report = major_upgrade.report(AFTER, replace(NEW, state=after))["major_upgrade"]
    assert isinstance(report, UpgradeReport)
    assert report.to_reindex == ("former of database orders (was 153.120)",)
