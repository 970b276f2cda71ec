"""Rolling restarts of clusters with several nodes, on a model of what Patroni and PostgreSQL do."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cenote.conf import patroni
from cenote.controller import rolling as controller
from cenote.controller import switches
from cenote.engine.plan import managed_restart, outdated_binaries, postgresql, replication, switching
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.managed_restart import Seen
from cenote.model.changes import Restart, RestartByPatroni, Stop, Wait
from cenote.model.parts import PartName
from cenote.model.records import Cluster, RestartTurn, Switchover, SwitchStage
from cenote.model.status_records import NodeStatus, PendingRestart, Standby
from cenote.rules import rolling
from cenote.rules.rolling import Look
from tests.support.wanted import NOW
from tests.unit.test_engine_managed import TRIO, of_node

NAMES = ("node-1", "node-2", "node-3")
HOSTS = ("here", "there")
TWO = replace(TRIO, nodes=TRIO.nodes[:2])
SHARED = "shared_buffers"  # of which nodes may have what they like
MOST = 40  # steps in which all of it is over


@dataclasses.dataclass
class Model:
    """What runs: the values of each node's server, the writer, and what the WAL has told the standbys.

    ``wrote`` is what the writer had of ``max_connections`` at its last start as one, which standbys that
    follow have as their least value.
    """

    cluster: Cluster
    wanted: dict[str, int]
    values: dict[str, dict[str, int]]
    leader: str = NAMES[0]
    restarts: list[str] = dataclasses.field(default_factory=list)
    switches: int = 0
    revision: int = 1

    def start(self, name: str) -> None:
        """Start a server as Patroni does: one that stands by never has less than the writer."""
        self.values[name] = dict(self.wanted)
        if name != self.leader:
            least = self.values[self.leader]["max_connections"]
            self.values[name]["max_connections"] = max(least, self.wanted["max_connections"])
        self.restarts.append(name)

    def look(self, alive: Collection[str] = HOSTS, seen: Mapping[str, NodeStatus] | None = None) -> Look:
        reports = {name: self.report(name) for name in self.values} | dict(seen or {})
        return Look(self.revision, self.leader, reports, alive)

    def report(self, name: str) -> NodeStatus:
        writes = name == self.leader
        least = {} if writes else {"max_connections": self.values[self.leader]["max_connections"]}
        others = tuple(one for one in self.values if one != self.leader)
        switch = self.cluster.switchover
        pending = pending_of(self.values[name], self.wanted, least)
        return NodeStatus(
            reached=1,
            tried=self.revision,
            at=NOW,
            restart=pending,
            followers=others if writes else (),
            standby=None if writes else Standby(streaming=True, replayed=1),
            restarted_for=switch.attempt if switch is not None and writes and pending is None else "",
        )

    def go_on(self) -> bool:
        """Have the nodes do what the controller says next; return whether that was anything."""
        found = controller.step(self.cluster, self.look(), NOW)
        if found is None:
            return False
        self.cluster, self.revision = found.cluster, self.revision + 1
        turn, switch = self.cluster.restart_turn, self.cluster.switchover
        if turn is not None:
            assert turn.node != self.leader
            self.start(turn.node)
        if switch is not None and switch.in_place:
            self.start(self.leader)
            over = switches.step(self.cluster, self.leader, self.look().reports, HOSTS, waited=0, now=NOW)
            assert over is not None
            self.cluster = over.cluster
        elif switch is not None:
            former, self.leader = self.leader, switch.target
            self.start(former)
            self.switches += 1
            self.cluster = replace(self.cluster, switchover=None)
        self.revision += 1
        return True


def pending_of(
    values: dict[str, int], wanted: dict[str, int], least: dict[str, int]
) -> PendingRestart | None:
    brought = tuple(name for name in sorted(wanted) if values[name] != max(wanted[name], least.get(name, 0)))
    changes = [name for name in brought if name != SHARED]
    found = PendingRestart(
        settings=brought,
        grows=tuple(name for name in changes if wanted[name] > values[name]),
        shrinks=tuple(name for name in changes if wanted[name] < values[name]),
    )
    return found if brought else None


def model(cluster: Cluster, wanted: tuple[int, int], *values: tuple[int, int]) -> Model:
    named = [{"max_connections": first, SHARED: second} for first, second in (wanted, *values)]
    return Model(cluster, named[0], dict(zip((n.name for n in cluster.nodes), named[1:], strict=True)))


PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 2))


@given(st.sampled_from([TWO, TRIO]), PAIRS, st.lists(PAIRS, min_size=3, max_size=3))
def test_each_node_gets_what_is_wanted_and_no_standby_ever_has_less_than_the_writer(
    cluster: Cluster, wanted: tuple[int, int], values: list[tuple[int, int]]
) -> None:
    writer = values[0]
    running = [(max(one[0], writer[0]), one[1]) for one in values]
    found = model(cluster, wanted, *running[: len(cluster.nodes)])
    for _ in range(MOST):
        went_on = found.go_on()
        least = found.values[found.leader]["max_connections"]
        assert all(one["max_connections"] >= least for one in found.values.values())
        if not went_on:
            break
    assert all(one == found.wanted for one in found.values.values())
    assert (found.cluster.restart_turn, found.cluster.switchover) == (None, None)
    assert rolling.waits_for(found.cluster, found.look()) == ""


def test_standbys_are_restarted_one_by_one_before_the_writer_gives_up_to_one_of_them() -> None:
    found = model(TRIO, (2, 2), *[(1, 1)] * 3)
    while found.go_on():
        pass
    assert found.restarts == ["node-2", "node-3", "node-1"]
    assert found.switches == 1


def test_a_writer_that_is_to_have_less_is_restarted_in_its_place_before_its_standbys() -> None:
    found = model(TRIO, (1, 1), *[(2, 1)] * 3)
    while found.go_on():
        pass
    assert found.restarts == ["node-1", "node-2", "node-3"]
    assert found.switches == 0


def test_what_else_a_writer_gets_that_is_restarted_in_its_place_is_tried_on_a_standby_first() -> None:
    found = model(TRIO, (1, 2), *[(2, 1)] * 3)
    while found.go_on():
        pass
    assert found.restarts == ["node-2", "node-1", "node-2", "node-3"]
    assert found.switches == 0


def test_the_turn_of_a_standby_lasts_until_it_follows_closely_again() -> None:
    found = model(TRIO, (2, 1), *[(1, 1)] * 3)
    first = controller.step(found.cluster, found.look(), NOW)
    assert first is not None
    assert first.cluster.restart_turn == RestartTurn(node="node-2", since=NOW)
    found.cluster = first.cluster
    assert controller.step(found.cluster, found.look(), NOW) is None
    assert rolling.waits_for(found.cluster, found.look()) == (
        "node-2 is being restarted; node-1 and node-3 wait for their turn"
    )
    found.start("node-2")
    far = replace(found.report("node-2"), standby=Standby(streaming=True, replayed=1, behind=2**30))
    for late in (far, replace(found.report("node-2"), tried=0)):
        assert controller.step(found.cluster, found.look(seen={"node-2": late}), NOW) is None
    alone = replace(found.report("node-1"), followers=("node-3",))
    assert controller.step(found.cluster, found.look(seen={"node-1": alone}), NOW) is None
    over = controller.step(found.cluster, found.look(), NOW)
    assert over is not None
    assert over.cluster.restart_turn is None


@pytest.mark.parametrize(
    ("changes", "alive", "reason"),
    [
        ({"node-1": {"followers": ("node-2",)}}, HOSTS, "node-3 does not follow node-1 closely"),
        ({}, ("here",), "the host of node-3 does not answer"),
        ({"node-2": {"tried": 0}}, HOSTS, "node-2 is still at work on the latest change"),
        ({"node-2": {"ahead": (PartName.RESTART,)}}, HOSTS, "node-2 is still at work on the latest change"),
    ],
)
def test_no_node_is_restarted_while_another_one_is_not_as_it_shall_be(
    changes: dict[str, dict[str, Any]], alive: Collection[str], reason: str
) -> None:
    found = model(TRIO, (2, 1), *[(1, 1)] * 3)
    seen = {name: replace(found.report(name), **fields) for name, fields in changes.items()}
    look = found.look(alive, seen)
    assert controller.step(found.cluster, look, NOW) is None
    assert controller.is_wanted(found.cluster, look)
    assert rolling.waits_for(found.cluster, look).startswith(reason)


def test_a_node_that_was_lost_with_its_host_holds_up_no_restart() -> None:
    lost = replace(TRIO.nodes[2], lost_at=NOW)
    found = model(replace(TRIO, nodes=(*TRIO.nodes[:2], lost)), (2, 1), *[(1, 1)] * 3)
    assert controller.step(found.cluster, found.look(("here",)), NOW) is not None


def test_a_turn_ends_when_its_node_takes_writes_or_is_removed() -> None:
    found = model(TRIO, (2, 1), *[(1, 1)] * 3)
    turn = RestartTurn(node="node-2", since=NOW)
    for cluster, leader in (
        (replace(TRIO, restart_turn=turn), "node-2"),
        (replace(TRIO, restart_turn=turn, nodes=TRIO.nodes[:1]), "node-1"),
        (replace(TRIO, restart_turn=turn, nodes=(TRIO.nodes[0], TRIO.nodes[2])), "node-1"),
    ):
        found.leader = leader
        over = controller.step(cluster, found.look(), NOW)
        assert over is not None
        assert over.cluster.restart_turn is None


def test_a_turn_that_lasts_for_long_is_not_looked_at_several_times_a_second() -> None:
    turn = RestartTurn(node="node-2", since=NOW)
    assert [rolling.is_new(turn, NOW + timedelta(seconds=after)) for after in (-5, 0, 50, 70)] == [
        *(True, True, True, False)
    ]
    assert not rolling.is_new(None, NOW)


def test_a_switch_for_a_restart_says_why_and_waits_for_an_hour() -> None:
    found = model(TWO, (2, 1), (1, 1), (2, 1))
    begun = controller.step(found.cluster, found.look(), NOW)
    assert begun is not None
    switch = begun.cluster.switchover
    assert switch is not None
    assert (switch.source, switch.target, switch.until) == ("node-1", "node-2", NOW + timedelta(hours=1))
    assert switch.reason == "node-1 is to be restarted, for max_connections"
    words = rolling.waits_for(begun.cluster, found.look())
    assert words == "node-1 is restarted once node-2 takes writes (a checkpoint is written)"
    asked = replace(begun.cluster, switchover=replace(switch, reason=""))
    assert controller.step(asked, found.look(), NOW) is None, "one that somebody has asked for goes first"


# -- What a node reports, and does when it is its turn


def seen(context: NodeContext, **in_force: str) -> Seen:
    return Seen(in_force, since=NOW - timedelta(1), at=NOW)


def wanted_of(context: NodeContext, name: str) -> int:
    return int(patroni.on_command_line(postgresql.settings(context))[name])


def test_a_node_says_what_grows_and_what_shrinks() -> None:
    context = of_node("node-2")
    more, less = (str(wanted_of(context, "max_connections") + step) for step in (1, -1))
    found = managed_restart.pending(context, seen(context, max_connections=more, shared_buffers="7"))
    assert found == PendingRestart(
        settings=("max_connections", "shared_buffers"), shrinks=("max_connections",)
    )
    found = managed_restart.pending(context, seen(context, max_connections=less))
    assert found == PendingRestart(settings=("max_connections",), grows=("max_connections",))


def test_what_a_standby_would_have_again_after_a_restart_waits_for_the_writer() -> None:
    context = of_node("node-2")
    more = wanted_of(context, "max_connections") + 1
    pending = dataclasses.replace(
        seen(context, max_connections=str(more)), least={"max_connections": more, "max_wal_senders": 1}
    )
    assert managed_restart.pending(context, pending) is None
    assert managed_restart.pending(of_node("node-1"), pending) is not None, "the writer needs no more"
    with_another = dataclasses.replace(pending, pending={**pending.pending, "shared_buffers": "7"})
    assert managed_restart.pending(context, with_another) == PendingRestart(settings=("shared_buffers",))


def test_what_the_operator_has_changed_waits_for_the_window_or_until_it_is_asked_for() -> None:
    context = of_node("node-2")
    for waiting in (
        seen(context, listen_addresses="else"),
        dataclasses.replace(seen(context), outdated=True),
    ):
        assert managed_restart.pending(context, waiting) is None
        asked = dataclasses.replace(context, cluster=replace(context.cluster, update_asked_at=NOW))
        assert managed_restart.pending(asked, waiting) is not None
    assert managed_restart.pending(context, seen(context, max_wal_senders="20")) is None, "the next restart's"


def test_a_setting_that_the_server_does_not_accept_is_left_out_before_it_is_restarted() -> None:
    chosen = replace(TRIO, configuration=replace(TRIO.configuration, postgresql={"max_worker_processes": 9}))
    context = dataclasses.replace(of_node("node-2"), cluster=chosen)
    waiting = seen(context, max_worker_processes="8")
    assert managed_restart.pending(context, waiting) is not None
    refusing = dataclasses.replace(waiting, refused={"max_worker_processes": "9"})
    assert managed_restart.pending(context, refusing) is None


def test_a_standby_is_restarted_by_patroni_when_it_is_its_turn_and_the_writer_never() -> None:
    for name, turn, is_asked in (
        ("node-2", "node-2", True),
        ("node-2", "node-3", False),
        ("node-1", "node-1", False),
    ):
        cluster = replace(TRIO, restart_turn=RestartTurn(node=turn, since=NOW))
        context = dataclasses.replace(of_node(name), cluster=cluster)
        changes = list(managed_restart.plan(context, seen(context, shared_buffers="7")))
        assert [type(one) for one in changes] == ([RestartByPatroni, Wait] if is_asked else [])
        assert list(managed_restart.plan(context, seen(context))) == []


def test_the_writer_is_restarted_in_its_place_once_all_pools_are_held() -> None:
    switch = Switchover(source="node-1", target="node-1", asked_at=NOW, until=NOW)
    for stage, is_asked in ((SwitchStage.HOLDING, False), (SwitchStage.SWITCHING, True)):
        cluster = replace(TRIO, switchover=replace(switch, stage=stage))
        context = dataclasses.replace(of_node("node-1"), cluster=cluster)
        waiting = switching.Seen(running=True, restart=seen(context, shared_buffers="7"))
        changes = list(switching.plan(context, waiting))
        assert [type(one) for one in changes] == ([RestartByPatroni, Wait] if is_asked else [])
        assert switching.report(context, waiting)["restarted_for"] == ""
        done = switching.Seen(running=True, restart=seen(context))
        expected = switch.attempt if is_asked else ""
        assert switching.report(context, done)["restarted_for"] == expected
        assert switching.report(context, switching.Seen())["restarted_for"] == "", "it does not run"


def test_who_follows_is_reported_while_a_switch_is_prepared() -> None:
    """The pass ends there, and an agent that has just started knows of none before."""
    switch = Switchover(source="node-1", target="node-2", asked_at=NOW, until=NOW)
    context = dataclasses.replace(of_node("node-1"), cluster=replace(TRIO, switchover=switch))
    following = replication.Seen(False, quorum=("node-2",), followers=("node-2", "node-3"))
    prepared = switching.Seen(running=True, checkpointed=0.0, following=following)
    assert list(switching.plan(context, prepared))[-1:] == [
        Wait("ready for node-2 to take over", at_once=True)
    ]
    found = switching.report(context, prepared)
    assert (found["ready_for"], found["followers"]) == (switch.attempt, ("node-2", "node-3"))
    assert "followers" not in switching.report(context, switching.Seen()), "what is known stays"


def test_a_pooler_of_several_nodes_is_restarted_by_the_first_of_its_host_and_no_server_with_it() -> None:
    cluster = msgspec.structs.replace(TRIO, update_asked_at=NOW)
    for name, is_stopped in (("node-1", True), ("node-2", False), ("node-3", True)):
        context = dataclasses.replace(of_node(name), cluster=cluster)
        outdated = {one.name: NOW - timedelta(1) for one in (context.server, context.bouncer)}
        changes = list(outdated_binaries.plan(context, outdated_binaries.Seen(outdated, "", NOW)))
        assert changes == ([Stop(context.bouncer)] if is_stopped else [])
        assert not any(isinstance(one, Restart) for one in changes)
