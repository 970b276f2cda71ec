"""Nodes that leave drained hosts, on a model of copies, switches and failovers."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cenote.controller import replacements
from cenote.controller.replacements import Look
from cenote.errors import Busy, Invalid
from cenote.model.records import Cluster, ClusterStatus, MajorUpgrade, Node, RestartTurn, SwitchStage
from cenote.model.status_records import NodeStatus, Standby
from cenote.model.topology import node_count, replacement
from cenote.rules import major_upgrades, node_counts, node_drains, switches
from cenote.rules.move_progress import DEFAULT, Hosts
from cenote.rules.scheduling import Candidate
from tests.support.wanted import CLUSTER, NOW
from tests.unit.test_moves import host

IDS = ("a", "b", "c", "d")
HOSTS = {id: host(id, patroni="4.1.5") for id in IDS}
ONLINE = ClusterStatus.ONLINE


def of_hosts(*hosts: str, **fields: Any) -> Cluster:
    nodes = tuple(
        Node(name=f"node-{number}", host=id, port=10_000, pool_port=10_001, metrics_port=10_009)
        for number, id in enumerate(hosts, 1)
    )
    return replace(CLUSTER, version="16", nodes=nodes, primary="node-1", **fields)


@dataclasses.dataclass
class Model:
    """What is seen: who takes writes, and which nodes follow."""

    cluster: Cluster
    drained: set[str]
    leader: str = "node-1"
    following: set[str] = dataclasses.field(default_factory=set)
    away: dict[str, float] = dataclasses.field(default_factory=dict)
    failing: dict[str, NodeStatus] = dataclasses.field(default_factory=dict)
    told: list[str] = dataclasses.field(default_factory=list)
    removed: set[str] = dataclasses.field(default_factory=set)

    def __post_init__(self) -> None:
        self.following = {node.name for node in self.cluster.nodes}

    @property
    def look(self) -> Look:
        followers = tuple(sorted(self.following - {self.leader}))
        seen = {
            node.name: self.failing.get(
                node.name,
                NodeStatus(
                    reached=int(node.name in self.following),
                    at=NOW,
                    followers=followers if node.name == self.leader else (),
                    standby=Standby(streaming=True, replayed=1) if node.name in followers else None,
                ),
            )
            for node in self.cluster.nodes
        }
        hosts = Hosts(
            known=HOSTS,
            alive=set(IDS) - set(self.away),
            away=self.away,
            drained=self.drained,
            removed=self.removed,
            now=NOW,
        )
        return Look(self.leader, seen, hosts)

    @property
    def candidates(self) -> list[Candidate]:
        return [Candidate(HOSTS[id], drained=id in self.drained) for id in IDS]

    def act(self) -> bool:
        """Do the controller's next step; return whether there was one."""
        look, cluster = self.look, self.cluster
        try:
            if replacements.is_busy(cluster):
                step = replacements.step(cluster, look)
            else:
                node = node_drains.to_be_replaced(cluster, self.leader, self.drained)
                if node is None:
                    return False
                node_drains.check(cluster, node, self.leader, look.reports, ONLINE)
                placed = node_drains.target(cluster, node, self.candidates)
                step = replacements.begun(cluster, look, node, placed)
        except Busy:
            return False
        if step is None:
            return False
        self.told += [] if step.event is None else [step.event.what]
        self.cluster = step.cluster
        self.following &= {node.name for node in self.cluster.nodes}
        return True

    def run(self) -> None:
        """Do what is to be done until nothing is, with agents and Patroni that do what they are asked for."""
        for _ in range(40):
            before = self.cluster, self.following
            self.act()
            assert self.count >= node_count(self.cluster), "fewer nodes follow than were asked for"
            self.switch()
            self.following = {node.name for node in self.cluster.nodes}
            if (self.cluster, self.following) == before:
                return
        raise AssertionError(self.told)

    def switch(self) -> None:
        if self.cluster.switchover is not None:
            self.leader = self.cluster.switchover.target
            self.cluster = replace(self.cluster, switchover=None, primary=self.leader)

    @property
    def count(self) -> int:
        return len(self.following)

    @property
    def hosts(self) -> set[str]:
        return {node.host for node in self.cluster.nodes}


def test_a_standby_is_replaced_once_the_new_node_follows() -> None:
    model = Model(of_hosts("a", "b"), {"b"})
    assert model.act()
    former, new = model.cluster.nodes[1:]
    assert replacement(model.cluster) == (former, new)
    assert (former.name, new.name, new.host in "cd") == ("node-2", "node-3", True)
    assert node_count(model.cluster) == 2
    assert not model.act(), "it does not follow yet"
    model.following.add("node-3")
    assert model.act()
    assert [node.name for node in model.cluster.nodes] == ["node-1", "node-3"]
    assert [node.name for node in model.cluster.left] == ["node-2"]
    assert replacement(model.cluster) is None
    assert not any(node.replaces for node in (*model.cluster.nodes, *model.cluster.left))
    place = f"db-{new.host}"
    assert model.told == [
        f"replaces node-2 on db-b, which is drained, by node-3 on {place}",
        f"moved node-2 from db-b to {place}, where it is node-3",
    ]


def test_a_writer_gives_up_first_and_says_why() -> None:
    model = Model(of_hosts("a", "b"), {"a"})
    assert model.act()
    switch = model.cluster.switchover
    assert switch is not None
    assert (switch.source, switch.target, switch.reason) == ("node-1", "node-2", "its host is drained")
    assert replacements.is_busy(model.cluster)
    assert not model.act()
    words = node_drains.waits_for(model.cluster, "node-1", model.look.reports, IDS)
    assert words == "node-2 takes writes first (a checkpoint is written)"
    model.run()
    assert not model.hosts & model.drained
    assert model.leader == "node-2"


def test_a_writer_gives_up_to_no_node_on_a_drained_host() -> None:
    model = Model(of_hosts("a", "b", "c"), {"a", "b"})
    model.run()
    assert model.leader not in ("node-1", "node-2")
    assert not model.hosts & model.drained


def test_a_writer_stays_while_the_node_elsewhere_does_not_follow() -> None:
    model = Model(of_hosts("a", "b"), {"a"})
    model.following.remove("node-2")
    assert not model.act()
    with pytest.raises(Busy, match="No other node follows node-1"):
        node_drains.switched(model.cluster, "node-1", model.look.reports, {"a"}, NOW)
    assert node_drains.switched(model.cluster, "node-1", model.look.reports, {"a", "b"}, NOW) is None


def test_without_a_host_that_takes_it_nothing_begins_and_the_reason_is_told() -> None:
    cluster = of_hosts("a", "b", distinct_hosts=True)
    model = Model(cluster, {"a", "c", "d"})
    assert not model.act(), "not even a switch"
    assert model.cluster == cluster
    with pytest.raises(Busy, match=r"2 nodes on different hosts need 2 hosts .* Add a host"):
        node_drains.target(cluster, cluster.nodes[0], model.candidates)


def test_what_else_is_under_way_comes_first() -> None:
    cluster = of_hosts("a", "b")
    reports = Model(cluster, set()).look.reports

    def check(cluster: Cluster, leader: str | None = "node-1", **seen: Any) -> None:
        found = {**reports, "node-1": replace(reports["node-1"], **seen)}
        node_drains.check(cluster, cluster.nodes[0], leader, found, ONLINE)

    check(cluster)
    with pytest.raises(Busy, match="No node takes writes"):
        check(cluster, None)
    with pytest.raises(Busy, match="is being upgraded"):
        check(replace(cluster, major_upgrade=MajorUpgrade(source="15", asked_at=NOW)))
    with pytest.raises(Busy, match="is about to take writes"):
        check(switches.begun(cluster, "node-1", reports, NOW))
    with pytest.raises(Busy, match="or one restarts"):
        check(replace(cluster, restart_turn=RestartTurn(node="node-2", since=NOW)))
    with pytest.raises(Invalid, match="Drop them first: mine"):
        check(cluster, logical_slots=("mine",))


def test_while_a_node_is_replaced_neither_its_number_nor_its_version_is_changed() -> None:
    model = Model(of_hosts("a", "b"), {"b"})
    assert model.act()
    node_counts.check(model.cluster, 2)
    for count in (1, 3):
        with pytest.raises(Busy, match="is being replaced"):
            node_counts.check(model.cluster, count)
    with pytest.raises(Busy, match="is being replaced"):
        major_upgrades.check(model.cluster, model.look.reports["node-1"], ONLINE)
    look = Look(None, {}, model.look.hosts)
    assert replacements.step(model.cluster, look) is None, "nothing is removed while no node takes writes"


def test_an_undrained_host_keeps_its_writer_unless_clients_are_held() -> None:
    model = Model(of_hosts("a", "b"), {"a"})
    assert model.act()
    switch = model.cluster.switchover
    assert switch is not None
    model.drained.clear()
    held = replace(model.cluster, switchover=replace(switch, stage=SwitchStage.HOLDING))
    assert replacements.step(held, model.look) is None
    assert model.act()
    assert model.cluster == of_hosts("a", "b")
    assert model.told == ["gave up the switch from node-1 to node-2: its host is not drained any more"]


def test_what_is_reported_of_a_writer_whose_host_is_away_counts_for_nothing() -> None:
    model = Model(of_hosts("a", "b"), {"b"})
    assert model.act()
    model.following.add("node-3")
    model.away = {"a": 1.0}
    assert not model.act()
    model.away.clear()
    assert model.act()


@pytest.mark.parametrize("follows", [False, True], ids=["copied", "follows"])
def test_an_undrained_host_keeps_its_node(follows: bool) -> None:
    model = Model(of_hosts("a", "b"), {"b"})
    assert model.act()
    model.following |= {"node-3"} if follows else set()
    model.drained.clear()
    assert model.act()
    assert [node.name for node in model.cluster.nodes] == ["node-1", "node-2"]
    assert [(node.name, node.replaces) for node in model.cluster.left] == [("node-3", "")]
    assert model.told[-1].endswith("in place of node-2: the host db-b is not drained any more")
    assert not model.act()


def test_a_new_node_that_follows_stays_where_the_former_one_does_not() -> None:
    model = Model(of_hosts("a", "b"), {"b"})
    assert model.act()
    model.following = {"node-1", "node-3"}
    model.drained.clear()
    assert model.act()
    assert [node.name for node in model.cluster.nodes] == ["node-1", "node-3"]


def test_a_new_node_is_given_up_whose_host_takes_none() -> None:
    for change, reason in (
        ({"away": DEFAULT.away}, "is down"),
        ({"removed": True}, "was removed"),
        ({"drained": True}, "is being drained"),
        ({"failing": DEFAULT.failing}, "the disk is full"),
    ):
        model = Model(of_hosts("a", "b"), {"b"})
        assert model.act()
        new = model.cluster.nodes[-1]
        if "away" in change:
            model.away = {new.host: change["away"]}
            assert replacements.step(model.cluster, model.look) is not None
            model.away = {new.host: change["away"] - 1}
            assert replacements.step(model.cluster, model.look) is None
            model.away = {new.host: change["away"]}
        elif "failing" in change:
            since = NOW - timedelta(seconds=change["failing"])
            model.failing["node-3"] = NodeStatus(reached=0, at=NOW, failing=True, reason=reason, since=since)
            found = replacements.step(model.cluster, model.look)
            assert found is not None
            assert found.unfit == new.host
            told = node_drains.waits_for(model.cluster, "node-1", model.look.reports, IDS)
            assert told == "node-3 cannot be made: the disk is full"
        else:
            (model.removed if "removed" in change else model.drained).add(new.host)
        assert model.act()
        assert model.told[-1].endswith(reason)
        assert new.name not in {node.name for node in model.cluster.nodes}


def test_a_node_whose_host_is_removed_as_lost_meanwhile_is_replaced_all_the_same() -> None:
    model = Model(of_hosts("a", "b"), {"b"})
    assert model.act()
    model.drained.clear()
    model.removed.add("b")
    model.following = {"node-1"}
    assert not model.act()
    model.following.add("node-3")
    assert model.act()
    assert [node.name for node in model.cluster.nodes] == ["node-1", "node-3"]


def test_a_promotion_is_told_before_the_former_primary_goes() -> None:
    model = Model(of_hosts("a", "b"), {"a"})
    assert model.act()
    assert model.cluster.switchover is not None
    model.leader, model.cluster = "node-2", replace(model.cluster, switchover=None)
    assert model.act()
    model.following.add("node-3")
    assert not model.act()
    model.cluster = replace(model.cluster, primary="node-2")
    assert model.act()
    assert model.hosts.isdisjoint("a")


@given(
    st.lists(st.sampled_from("abcd"), min_size=2, max_size=3),
    st.sets(st.sampled_from("abcd"), min_size=1, max_size=3),
    st.sampled_from(["node-1", "node-2"]),
)
def test_no_node_is_left_on_a_drained_host_and_never_fewer_follow(
    hosts: list[str], drained: set[str], leader: str
) -> None:
    model = Model(of_hosts(*hosts), drained, leader=leader)
    model.cluster = replace(model.cluster, primary=leader)
    model.run()
    assert not model.hosts & drained
    assert len(model.cluster.nodes) == len(hosts)
    assert model.cluster.switchover is None


EVENTS = st.sampled_from(["act", "act", "copy", "switch", "fail over", "drain", "undrain"])


@given(
    st.lists(st.sampled_from("abcd"), min_size=2, max_size=3),
    st.lists(st.tuples(EVENTS, st.sampled_from("abcd")), max_size=40),
)
def test_whatever_happens_meanwhile_enough_nodes_follow_and_it_ends(
    hosts: list[str], happened: list[tuple[str, str]]
) -> None:
    model = Model(of_hosts(*hosts), {hosts[0]})
    for what, where in happened:
        before = model.count
        match what:
            case "act":
                model.act()
                assert model.count >= min(before, len(hosts)), "the controller took a node that was needed"
            case "copy":
                model.following |= {node.name for node in model.cluster.nodes if node.host == where}
            case "switch":
                model.switch()
            case "fail over":
                able = [node.name for node in model.cluster.nodes if node.name in model.following]
                model.leader = able[-1]
                model.cluster = replace(model.cluster, primary=model.leader, switchover=None)
            case "drain":
                if len(model.drained | {where}) < len(IDS):
                    model.drained.add(where)
            case "undrain":
                model.drained.discard(where)
        assert node_count(model.cluster) == len(hosts)
        assert model.leader in {node.name for node in model.cluster.nodes}
    model.run()
    assert not model.hosts & model.drained
    assert len(model.cluster.nodes) == len(hosts)
    assert replacement(model.cluster) is None
