"""The stages of a move, and that random faults never give a cluster two writers or no way on."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cenote.controller import moves
from cenote.controller.move_clocks import MoveClocks
from cenote.controller.moves import Step
from cenote.model.backups import BackupReport
from cenote.model.fleet_records import Host
from cenote.model.records import BackupPlan, Cluster, Move, MoveStage, Node
from cenote.model.status_records import NodeStatus, Standby
from cenote.rules import move_progress
from cenote.rules.archiving import NO_BACKUPS_YET
from cenote.rules.move_progress import Hosts, Limits, Look, Times
from cenote.rules.moves import backed_out
from tests.support.etcd import bare_cluster

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
REVISION = 50
COPYING, SWITCHING, LEAVING = MoveStage


def host(id: str) -> Host:
    return Host(
        id=id,
        name=f"db-{id}",
        address="h",
        memory_mib=1,
        cpus=1,
        versions={},
        first_port=10_000,
        last_port=10_009,
    )


def hosts(*, down: tuple[str, ...] = (), seconds: float = 60, **fields: Any) -> Hosts:
    given: dict[str, Any] = {
        "known": {id: host(id) for id in ("a", "b")},
        "alive": {id for id in ("a", "b") if id not in down},
        "away": dict.fromkeys(down, seconds),
        "now": NOW,
    }
    return Hosts(**given | fields)


def moving(stage: MoveStage = COPYING, **fields: Any) -> Cluster:
    source = Node(name="node-1", host="a", port=10_000, pool_port=10_001)
    target = Node(name="node-2", host="b", port=10_000, pool_port=10_001)
    move = Move(source="node-1", target="node-2", asked_at=NOW, since=NOW, stage=stage, **fields)
    return replace(bare_cluster("one", 10_000), nodes=(source, target), move=move)


def seen(**fields: Any) -> NodeStatus:
    return replace(NodeStatus(reached=REVISION, tried=REVISION, at=NOW), **fields)


FOLLOWS = seen(standby=Standby(streaming=True, replayed=900))


def step(
    cluster: Cluster, source: NodeStatus | None, target: NodeStatus | None, **options: Any
) -> Step | None:
    reports = {"node-1": source, "node-2": target}
    found = options.pop("hosts", hosts())
    given = {name: report for name, report in reports.items() if report is not None}
    times = Times(**{name: options.pop(name) for name in ("waited", "lasted", "failing") if name in options})
    return moves.step(cluster, REVISION, given, found, times=times, **options)


def reason(cluster: Cluster, source: NodeStatus | None, target: NodeStatus | None, **options: Any) -> str:
    reports = {"node-1": source, "node-2": target}
    given = {name: report for name, report in reports.items() if report is not None}
    look = move_progress.look_at(cluster, REVISION, given, Times(waited=options.pop("waited", 0.0)))
    assert look is not None
    return move_progress.waits_for(look, options.pop("hosts", hosts()), **options)


def stage_after(found: Step | None) -> MoveStage | None:
    assert found is not None
    return None if found.cluster.move is None else found.cluster.move.stage


# -- Copying


def test_a_server_that_archives_nothing_before_its_restart_can_move() -> None:
    waits = seen(backups=BackupReport(unarchived=NO_BACKUPS_YET))
    assert stage_after(step(moving(), waits, FOLLOWS)) is SWITCHING


@pytest.mark.parametrize(
    ("backups", "expected"),
    [
        (BackupReport(), None),
        (BackupReport(gap_at=NOW - timedelta(1)), NOW - timedelta(1)),
        (None, NOW),
        (BackupReport(impossible="there is no pgBackRest"), NOW),
    ],
    ids=["nothing lost", "a gap", "kept none", "could not"],
)
def test_what_was_lost_to_backups_goes_along(backups: BackupReport | None, expected: datetime | None) -> None:
    cluster = replace(moving(SWITCHING), backups=BackupPlan(sealed_passphrase="sealed"))
    found = step(cluster, seen(ended_at=900, backups=backups), FOLLOWS)
    assert stage_after(found) is LEAVING
    assert found is not None
    assert found.cluster.backups is not None
    assert found.cluster.backups.gap_at == expected


@pytest.mark.parametrize(
    ("at_source", "at_target", "lost"),
    [
        ({"repository": "s3://b"}, {"repository": "s3://b"}, False),
        ({"repository": "file:///srv/b"}, {"repository": "file:///srv/b"}, False),
        ({"repository": "file:///srv/b"}, {"repository": "s3://b"}, True),
        (
            {"repository": "file:///data/backups", "default_repository": True},
            {"repository": "file:///data/backups", "default_repository": True},
            True,
        ),
        (
            {"repository": "file:///data/backups"},
            {"repository": "file:///data/backups", "default_repository": True},
            True,
        ),
    ],
    ids=["one bucket", "one directory", "two places", "each its own", "one its own"],
)
def test_a_repository_that_the_new_host_has_for_itself_misses_what_was_written_elsewhere(
    at_source: dict[str, Any], at_target: dict[str, Any], lost: bool
) -> None:
    cluster = replace(moving(SWITCHING), backups=BackupPlan(sealed_passphrase="sealed"))
    known = {
        id: replace(host, **(at_source if id == cluster.nodes[0].host else at_target))
        for id, host in hosts().known.items()
    }
    found = step(cluster, seen(ended_at=900, backups=BackupReport()), FOLLOWS, hosts=hosts(known=known))
    assert found is not None
    assert found.cluster.backups is not None
    assert found.cluster.backups.gap_at == (NOW if lost else None)


def test_the_switch_begins_when_the_target_follows_and_the_source_has_nothing_else_to_do() -> None:
    found = step(moving(), seen(), FOLLOWS)
    assert stage_after(found) is SWITCHING
    assert found is not None
    assert found.cluster.move is not None
    assert found.cluster.move.writer == "node-1"


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (seen(), None, "host db-b begins to copy the data"),
        (seen(), seen(reason="copying the data, 42 %"), "copying the data, 42 %"),
        (seen(), seen(standby=Standby(streaming=False, replayed=0)), "the data is being copied"),
        (seen(reached=REVISION - 1), FOLLOWS, "the source carries out other changes first"),
        (seen(failing=True, reason="the disk is full"), FOLLOWS, "the disk is full"),
        (seen(ended_at=800), FOLLOWS, "the source carries out other changes first"),
        (seen(logical_slots=("a",)), FOLLOWS, "the logical replication slots a to be dropped"),
        (
            seen(backups=BackupReport(unarchived="not archived yet")),
            FOLLOWS,
            "the WAL at host db-a to be archived: not archived yet",
        ),
        (None, FOLLOWS, "the source carries out other changes first"),
    ],
)
def test_it_does_not_begin_before_and_says_why(
    source: NodeStatus | None, target: NodeStatus | None, expected: str
) -> None:
    assert step(moving(), source, target) is None
    assert reason(moving(), source, target) == expected


def test_one_cluster_switches_after_the_other() -> None:
    assert step(moving(), seen(), FOLLOWS, may_switch=False) is None
    assert reason(moving(), seen(), FOLLOWS, may_switch=False) == "the switch of another cluster"


def test_a_target_whose_host_is_down_for_long_is_given_up_and_removed_when_it_is_back() -> None:
    assert step(moving(), seen(), FOLLOWS, hosts=hosts(down=("b",))) is None
    found = step(moving(), seen(), FOLLOWS, hosts=hosts(down=("b",), seconds=400))
    assert found is not None
    assert [node.host for node in found.cluster.nodes] == ["a"]
    assert [node.host for node in found.cluster.left] == ["b"]
    assert found.event is not None
    assert found.event.what == "gave up the move to db-b: the host db-b is down"


def test_a_target_that_is_drained_or_removed_is_given_up() -> None:
    drained = step(moving(), seen(), FOLLOWS, hosts=hosts(drained={"b"}))
    removed = step(moving(), seen(), FOLLOWS, hosts=hosts(removed={"b"}))
    assert [stage_after(drained), stage_after(removed)] == [None, None]


def test_a_source_that_was_down_has_its_move_given_up_when_it_is_back() -> None:
    away = hosts(down=("a",))
    found = step(moving(), seen(), FOLLOWS, hosts=away)
    assert found is not None
    assert found.reason == "the host db-a, which the cluster is on, is down"
    waiting = found.cluster
    assert step(waiting, seen(), FOLLOWS, hosts=away) is None
    assert stage_after(step(waiting, seen(), FOLLOWS)) is None


def test_the_copy_of_a_cluster_whose_host_is_lost_is_kept() -> None:
    lost = hosts(removed={"a"}, down=("a",))
    found = step(moving(), seen(), FOLLOWS, hosts=lost)
    assert found is not None
    assert len(found.cluster.nodes) == 2
    assert step(found.cluster, seen(), FOLLOWS, hosts=lost) is None


def test_what_was_not_copied_is_not_said_to_be_kept() -> None:
    lost = hosts(removed={"a"}, down=("a",))
    assert reason(moving(), seen(), FOLLOWS, hosts=lost).endswith("the copy that was made so far is kept")
    assert reason(moving(), seen(), seen(), hosts=lost).endswith("as lost, before its data was copied")


def test_copying_ends_some_day_with_all_switches_that_were_given_up() -> None:
    busy = moving(tries=900, hitch="a long transaction")
    found = step(busy, seen(), seen(reason="it copies"), lasted=Limits().copying)
    assert found is not None
    assert found.event is not None
    assert found.event.what == "gave up the move to db-b: it copies"
    assert step(busy, seen(), seen(reason="it copies"), waited=Limits().copying) is None
    again = step(busy, seen(), FOLLOWS, lasted=Limits().copying, waited=400)
    assert again is not None
    assert again.event is not None
    assert again.event.what == "gave up the move to db-b: a long transaction"


def test_a_target_that_fails_again_and_again_is_given_up_and_its_host_is_unfit() -> None:
    failing = seen(failing=True, reason="the disk is full")
    assert step(moving(), seen(), failing, failing=Limits().failing - 1) is None
    found = step(moving(), seen(), failing, failing=Limits().failing)
    assert stage_after(found) is None
    assert found is not None
    assert found.unfit == "b"
    assert found.reason == "gave up the move to db-b: the disk is full"


def test_a_copy_whose_changes_are_gone_is_given_up_at_once() -> None:
    found = step(moving(), seen(slot_lost=True), seen(reason="it copies"))
    assert stage_after(found) is None
    assert found is not None
    assert found.reason == f"gave up the move to db-b: {moves.SLOT_LOST}"
    assert found.unfit == "b", "a drain would copy it there again at once"
    before = seen(slot_lost=True, reached=REVISION - 1)  # of a former move
    assert step(moving(), before, seen(reason="it copies")) is None


def test_the_times_of_a_move_are_those_of_its_stage_of_all_of_it_and_of_its_failures() -> None:
    now = 100.0
    clocks = MoveClocks(lambda: now)
    cluster, failing, follows = moving(), {"node-2": seen(failing=True)}, {"node-2": FOLLOWS}

    def read(reports: dict[str, NodeStatus], **fields: Any) -> Times:
        assert cluster.move is not None
        return clocks.read(replace(cluster, move=replace(cluster.move, **fields)), reports)

    assert read({}) == Times()
    now = 110.0
    assert read(failing) == Times(waited=10, lasted=10)
    now = 115.0
    assert read({"node-2": seen()}) == Times(waited=15, lasted=15), "it tries again"
    assert read(failing) == Times(waited=15, lasted=15, failing=5)
    assert read(follows, stage=SWITCHING) == Times(lasted=15)
    now = 120.0
    assert read(follows, tries=1) == Times(lasted=20)
    assert read(failing, tries=1) == Times(lasted=20)
    assert read({}, target="node-3") == Times()
    now = 130.0
    assert clocks.read(replace(cluster, move=None), {}) == Times()
    assert read({}) == Times()


def test_what_counts_as_failing_again_and_again() -> None:
    now = 100.0
    clocks, cluster = MoveClocks(lambda: now), moving()

    def failing(target: NodeStatus, cluster: Cluster = cluster) -> float:
        return clocks.read(cluster, {"node-2": target}).failing

    fails = seen(failing=True)
    assert failing(fails) == 0
    now += 60
    # A server that does not start leaves the last that was seen of its standby in the report.
    assert failing(replace(FOLLOWS, failing=True)) == 60
    larger = replace(cluster, size="db-s-2vcpu-4gb")
    now += 60
    assert failing(fails, larger) == 0, "the copy begins anew for another size"
    now += 60
    assert failing(fails, larger) == 60
    now += 4000
    assert failing(seen(), larger) == 0
    assert failing(fails, larger) == 0, "an error of an hour ago is another one"


def test_a_host_is_not_unfit_when_the_source_fails_too() -> None:
    found = step(moving(), seen(failing=True), seen(failing=True, reason="x"), failing=Limits().failing)
    assert found is not None
    assert found.unfit == ""


# -- Switching


def test_the_target_takes_over_when_it_has_all_that_the_source_wrote() -> None:
    ended = seen(ended_at=900)
    assert stage_after(step(moving(SWITCHING), ended, FOLLOWS)) is LEAVING
    behind = seen(standby=Standby(streaming=True, replayed=899))
    assert step(moving(SWITCHING), ended, behind) is None
    assert step(moving(SWITCHING), seen(), FOLLOWS) is None


def test_it_takes_over_also_when_the_source_is_lost_by_then() -> None:
    found = step(moving(SWITCHING), seen(ended_at=900), FOLLOWS, hosts=hosts(down=("a",)))
    assert stage_after(found) is LEAVING


def test_a_switch_that_takes_too_long_is_tried_again_after_a_pause_that_grows() -> None:
    busy = seen(reason="pool web is busy")
    found = step(moving(SWITCHING, tries=2), busy, FOLLOWS, waited=Limits().switching)
    assert found is not None
    assert found.cluster.move is not None
    move = found.cluster.move
    assert (move.stage, move.tries, move.hitch) == (COPYING, 3, "pool web is busy")
    again = found.cluster
    assert step(again, seen(), FOLLOWS, waited=19) is None
    assert reason(again, seen(), FOLLOWS, waited=19.0) == "the next attempt to switch, after pool web is busy"
    assert stage_after(step(again, seen(), FOLLOWS, waited=20)) is SWITCHING
    assert move_progress.pause_after(1_000) == Limits().longest_pause


# -- Leaving


def test_the_move_ends_when_nobody_uses_the_former_address() -> None:
    found = step(moving(LEAVING), seen(leads_on=True, held_ms=230), seen())
    assert found is not None
    assert found.cluster.move is None
    assert [node.host for node in found.cluster.nodes] == ["b"]
    assert [node.host for node in found.cluster.left] == ["a"]
    assert found.event is not None
    assert found.event.what == "moved from db-a to db-b, clients of its pools were held for 0.2 s"


def test_a_port_that_could_not_be_kept_is_told() -> None:
    cluster = moving(LEAVING)
    other = replace(cluster.nodes[1], port=10_004, pool_port=10_005)
    found = step(replace(cluster, nodes=(cluster.nodes[0], other)), seen(leads_on=True), seen())
    assert found is not None
    assert found.event is not None
    assert found.event.what == (
        "moved from db-a to db-b, the port 10000 became 10004, the port of the pools 10001 became 10005"
    )


def test_clients_of_the_former_address_are_waited_for_but_not_for_ever() -> None:
    in_use = seen(clients=3, leads_on=True)
    assert step(moving(LEAVING), in_use, seen()) is None
    assert reason(moving(LEAVING), in_use, seen()) == "3 clients of the former address"
    assert stage_after(step(moving(LEAVING), in_use, seen(), waited=Limits().leaving)) is None
    assert step(moving(LEAVING), seen(), seen()) is None
    assert reason(moving(LEAVING), seen(), seen()) == "the pools of host db-a to lead to the new one"


def test_there_is_no_way_back_from_leaving() -> None:
    for down in ((), ("a",), ("b",), ("a", "b")):
        waiting = seen(reached=REVISION - 1)
        found = hosts(down=down, seconds=1e6)
        assert step(moving(LEAVING), seen(), waiting, waited=1e9, hosts=found) is None


def test_the_move_ends_without_a_source_that_is_lost() -> None:
    found = step(moving(LEAVING), seen(clients=3, leads_on=True), seen(), hosts=hosts(removed={"a"}))
    assert found is not None
    assert [node.host for node in found.cluster.left] == ["a"]
    after = moves.step(found.cluster, REVISION, {}, hosts(removed={"a"}))
    assert after is not None
    assert after.cluster.left == ()


def test_a_node_that_has_left_is_forgotten_when_its_host_has_removed_it() -> None:
    moved = backed_out(moving())
    assert moves.step(moved, REVISION, {"node-2": seen()}, hosts()) is None
    found = moves.step(moved, REVISION, {"node-2": seen(removed=True)}, hosts())
    assert found is not None
    assert found.cluster.left == ()


# -- Drains


def test_clusters_on_drained_hosts_are_moved_the_oldest_first() -> None:
    old = bare_cluster("old", 1, host="a")
    young = replace(bare_cluster("young", 3, host="a"), created_at=NOW + timedelta(days=900))
    elsewhere, gone = bare_cluster("other", 5, host="b"), replace(bare_cluster("x", 1), deleted_at=NOW)
    found = moves.to_be_moved([young, old, elsewhere, gone, moving()], hosts(drained={"a"}))
    assert [cluster.name for cluster in found] == ["old", "young"]


def test_a_copy_counts_for_both_of_its_hosts_until_it_follows() -> None:
    assert moves.copies([look(moving())]) == {"a": 1, "b": 1}
    assert moves.copies([look(moving(), target=FOLLOWS), look(moving(LEAVING))]) == {}


def look(cluster: Cluster, **reports: NodeStatus) -> Look:
    names = {"source": "node-1", "target": "node-2"}
    given = {names[key]: report for key, report in reports.items()}
    found = move_progress.look_at(cluster, REVISION, given)
    assert found is not None
    return found


def test_no_copy_begins_beside_a_switch() -> None:
    def has_turn(cluster: Cluster, **reports: NodeStatus) -> bool:
        return moves.has_turn([look(cluster, **reports)], hosts())

    assert not has_turn(moving())
    assert has_turn(moving(), source=seen(), target=FOLLOWS)
    assert not has_turn(moving(), source=seen(failing=True, reason="x"), target=FOLLOWS)
    assert not has_turn(moving(tries=1), source=seen(), target=FOLLOWS), "after its pause"
    assert has_turn(moving(SWITCHING))
    assert has_turn(moving(LEAVING), target=seen(reached=REVISION - 1))
    assert not has_turn(moving(LEAVING), target=seen())


# -- Any sequence of events


@dataclass
class World:
    """Two hosts with agents that keep to the stages, a store, and a controller that may come late."""

    cluster: Cluster = field(default_factory=moving)
    revision: int = 1
    now: datetime = NOW
    reports: dict[str, NodeStatus] = field(default_factory=dict)
    down: dict[str, datetime] = field(default_factory=dict)
    source_runs: bool = True
    written: int = 0  # what the source has of the customers' data
    copied: int = -1  # what the target has of it
    target_writes: bool = False
    removed: set[str] = field(default_factory=set)
    drained: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.clocks = MoveClocks(lambda: (self.now - NOW).total_seconds())

    @property
    def hosts(self) -> Hosts:
        return hosts(
            alive={id for id in "ab" if id not in self.down},
            away={id: (self.now - since).total_seconds() for id, since in self.down.items()},
            now=self.now,
            drained=frozenset(self.drained),
        )

    def write(self, cluster: Cluster) -> None:
        self.cluster, self.revision = cluster, self.revision + 1

    def report(self, name: str, **fields: Any) -> None:
        status = NodeStatus(reached=self.revision, tried=self.revision, at=NOW)
        self.reports[name] = replace(status, **fields)

    def work_at_a(self, *, busy: bool = False) -> None:
        if "a" in self.down:
            return
        move = self.cluster.move
        if any(node.host == "a" for node in self.cluster.left):
            self.source_runs = False
            self.removed.add("a")
            self.report("node-1", removed=True)
        elif move is not None and move.stage is not COPYING:
            if move.stage is LEAVING or not busy:
                self.source_runs = False
            ended_at = 0 if self.source_runs else self.written + 1
            self.report("node-1", ended_at=ended_at, leads_on=move.stage is LEAVING)
        elif any(node.host == "a" for node in self.cluster.nodes):
            self.report("node-1")  # before its server may run, so that no former end counts
            self.source_runs = True

    def work_at_b(self) -> None:
        if "b" in self.down:
            return
        move = self.cluster.move
        if any(node.host == "b" for node in self.cluster.left):
            self.copied = -1
            self.removed.add("b")
            self.report("node-2", removed=True)
        elif any(node.host == "b" for node in self.cluster.nodes):
            if move is None or move.stage is LEAVING:
                self.target_writes = True
            elif self.source_runs or "a" not in self.down:
                self.copied = self.written
            standby = Standby(streaming="a" not in self.down, replayed=self.copied + 1)
            self.report("node-2", standby=None if self.target_writes else standby)

    def customer_writes(self) -> None:
        if self.source_runs:
            self.written += 1

    def control(self) -> None:
        times = self.clocks.read(self.cluster, self.reports)
        found = moves.step(self.cluster, self.revision, self.reports, self.hosts, times=times)
        if found is not None:
            self.write(found.cluster)
        elif self.cluster.move is not None:
            look = move_progress.look_at(self.cluster, self.revision, self.reports, times)
            assert look is not None
            assert move_progress.waits_for(look, self.hosts), "a wait without a reason"

    def check(self) -> None:
        assert not (self.source_runs and self.target_writes), "two servers take writes"
        if self.target_writes:
            assert self.copied == self.written, "an acknowledged row is lost"

    def do(self, event: str) -> None:
        match event:
            case "a works":
                self.work_at_a()
            case "a is busy":
                self.work_at_a(busy=True)
            case "a has lost the slot":
                self.work_at_a()
                if "a" not in self.down and self.cluster.move is not None and self.source_runs:
                    self.reports["node-1"] = replace(self.reports["node-1"], slot_lost=True)
            case "b works":
                self.work_at_b()
            case "b fails":
                if "b" not in self.down and len(self.cluster.nodes) == 2:
                    self.report("node-2", reached=0, failing=True, reason="the disk is full")
            case "a customer writes":
                self.customer_writes()
            case "the controller looks":
                self.control()
            case "the record is changed":
                self.write(replace(self.cluster, storage_mib=self.cluster.storage_mib + 1))
            case "a goes" | "b goes":
                self.down.setdefault(event[0], self.now)
            case "a comes" | "b comes":
                self.down.pop(event[0], None)
            case "b is drained":
                self.drained.add("b")
            case _:
                self.now += timedelta(seconds=int(event))
        self.check()


EVENTS = st.sampled_from(
    [
        *("a works", "a is busy", "b works", "a customer writes", "the controller looks"),
        *("a has lost the slot", "b fails"),
        *("the record is changed", "a goes", "b goes", "a comes", "b comes", "b is drained"),
        *("1", "10", "400", "90000"),
    ]
)


@settings(max_examples=500, deadline=None)
@given(st.lists(EVENTS, max_size=60))
def test_no_sequence_of_faults_gives_two_writers_and_each_has_a_way_on(events: list[str]) -> None:
    world = World()
    world.check()
    for event in events:
        world.do(event)
    for event in ("a comes", "b comes"):
        world.do(event)
    for _ in range(60):
        for event in ("a works", "b works", "the controller looks", "10"):
            world.do(event)
    assert world.cluster.move is None
    assert world.cluster.left == ()
    assert len(world.cluster.nodes) == 1
    assert world.source_runs or world.target_writes
