"""Which node takes writes, and how a cluster is, for any record, reports and presences."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cenote.engine.parts import NODE_PARTS
from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.model.backups import BackupReport
from cenote.model.fleet_records import Presence
from cenote.model.records import Cluster, ClusterStatus, Move, MoveStage, Node
from cenote.model.status_records import NodeStatus, Standby
from cenote.model.topology import (
    Absence,
    Health,
    Topology,
    node_key,
    shares_host,
    status,
    topology,
    writer,
    writer_or_first,
)
from tests.support.wanted import CLUSTER, NOW, SITE, WANTED

HOSTS = ("a", "b", "c")
RUNS = ("", "run-1", "run-2")
NAMES = ("node-1", "node-2", "node-3")
KEYS = tuple(node_key(CLUSTER.id, name) for name in NAMES)
SERVERS = ("PostgreSQL", "PgBouncer")
# From the best to the worst, for a customer; what is unknown may be any.
ORDER = (Health.HEALTHY, Health.DEGRADED, Health.STARTING, Health.DOWN)

node_lists = st.lists(
    st.builds(
        Node,
        name=st.sampled_from(NAMES),
        host=st.sampled_from(HOSTS),
        port=st.integers(1, 9),
        pool_port=st.just(10),
    ),
    max_size=4,
)
clusters = node_lists.map(lambda nodes: replace(CLUSTER, nodes=tuple(nodes)))
report_values = st.builds(
    NodeStatus,
    reached=st.integers(0, 2),
    reason=st.sampled_from(("", "a reason")),
    failing=st.booleans(),
    waiting=st.booleans(),
    stopped=st.lists(st.sampled_from(SERVERS), unique=True).map(tuple),
    unresponsive=st.lists(st.sampled_from(SERVERS), unique=True).map(tuple),
    at=st.integers(0, 3).map(lambda hours: NOW + timedelta(hours=hours)),
    run=st.sampled_from(RUNS),
    size=st.sampled_from(("", CLUSTER.size, "another")),
    region=st.sampled_from(("", CLUSTER.region, "another")),
    storage_mib=st.sampled_from((0, CLUSTER.storage_mib)),
)
some_keys = st.lists(st.sampled_from(KEYS), max_size=2).map(tuple)
report_maps = st.dictionaries(st.sampled_from((*NAMES, "node-9")), report_values)
presence_maps = st.dictionaries(
    st.sampled_from(HOSTS),
    st.builds(
        Presence, run=st.sampled_from(RUNS), directory=st.just(""), unseen=some_keys, stalled=some_keys
    ),
)
leaders = st.sampled_from((None, *NAMES, "node-9", ""))

GOOD = NodeStatus(reached=5, at=NOW, run="run-1", size=CLUSTER.size, storage_mib=CLUSTER.storage_mib)
ALIVE = {host: Presence(run="run-1", directory="") for host in (*HOSTS, "here")}


def trio() -> Cluster:
    nodes = (Node(name=name, host=host, port=1, pool_port=2) for name, host in zip(NAMES, HOSTS, strict=True))
    return replace(CLUSTER, nodes=tuple(nodes))


STREAMS = Standby(streaming=True, replayed=1, behind=100)


def followed(primary: str, *others: str) -> dict[str, NodeStatus]:
    """The reports of nodes that work, of which the others follow the first one."""
    standbys = dict.fromkeys(others, replace(GOOD, standby=STREAMS))
    return {**standbys, primary: replace(GOOD, followers=others, quorum=others)}


def alone(presences: Mapping[str, Presence] | None = ALIVE, **report: Any) -> Topology:
    return topology(CLUSTER, {"node-1": replace(GOOD, **report)}, presences)


# -- Any input


@given(clusters, report_maps, st.none() | presence_maps, leaders)
def test_there_is_an_answer_for_anything_and_never_a_second_writer(
    cluster: Cluster,
    reports: dict[str, NodeStatus],
    presences: dict[str, Presence] | None,
    leader: str | None,
) -> None:
    seen = topology(cluster, reports, presences, leader)
    writing = [member.node for member in seen.members if member.writes]
    assert writing == ([] if seen.writer is None else [seen.writer])
    assert seen.writer == writer(cluster, leader)
    assert tuple(member.node for member in seen.members) == cluster.nodes
    if len(cluster.nodes) > 1 and seen.writer is not None:
        assert seen.writer.name == leader
    if cluster.nodes:
        shown = writer_or_first(cluster, leader)
        assert shown in cluster.nodes
        mine = status(cluster, reports.get(shown.name))
        assert seen.status is mine or (len(cluster.nodes) > 1 and mine is ClusterStatus.ONLINE)
    assert msgspec.json.encode(seen)


@given(clusters, report_maps, presence_maps, leaders, st.randoms())
def test_the_order_in_which_things_are_known_changes_nothing(
    cluster: Cluster,
    reports: dict[str, NodeStatus],
    presences: dict[str, Presence],
    leader: str | None,
    random: Any,
) -> None:
    def shuffled(known: Mapping[str, Any]) -> dict[str, Any]:
        items = list(known.items())
        random.shuffle(items)
        return dict(items)

    seen = topology(cluster, reports, presences, leader)
    assert topology(cluster, shuffled(reports), shuffled(presences), leader) == seen
    other = replace(cluster, nodes=tuple(reversed(cluster.nodes)))
    if len({node.name for node in cluster.nodes}) == len(cluster.nodes):
        turned = topology(other, reports, presences, leader)
        assert (turned.writer, turned.health) == (seen.writer, seen.health)


@given(clusters, report_maps, presence_maps, leaders)
def test_no_health_is_known_of_a_node_without_the_presence_of_its_host(
    cluster: Cluster, reports: dict[str, NodeStatus], presences: dict[str, Presence], leader: str | None
) -> None:
    for member in topology(cluster, reports, presences, leader).members:
        presence, report = presences.get(member.node.host), reports.get(member.node.name)
        if presence is None:
            assert member.health is Health.UNKNOWN
        elif member.health in (Health.HEALTHY, Health.DEGRADED, Health.DOWN):
            assert report is not None
            assert report.run == presence.run
    assert topology(cluster, reports, None, leader).health is Health.UNKNOWN
    assert topology(cluster, reports, {}, leader).health is Health.UNKNOWN


@given(clusters, report_maps, presence_maps, leaders)
def test_a_cluster_is_never_better_than_its_writer_and_healthy_only_as_a_whole(
    cluster: Cluster, reports: dict[str, NodeStatus], presences: dict[str, Presence], leader: str | None
) -> None:
    seen = topology(cluster, reports, presences, leader)
    found = {member.health for member in seen.members}
    writing = next((member for member in seen.members if member.writes), None)
    is_spread = len({node.host for node in cluster.nodes}) == len(cluster.nodes)
    assert (seen.health is Health.HEALTHY) == (
        writing is not None and found == {Health.HEALTHY} and is_spread
    )
    if writing is not None and writing.health in ORDER:
        assert ORDER.index(seen.health) >= ORDER.index(writing.health)
    if writing is None:
        assert seen.health in (Health.DOWN, Health.UNKNOWN)


@given(clusters, report_maps, presence_maps, leaders, st.sampled_from(NAMES), st.sampled_from(SERVERS))
def test_a_server_that_stops_makes_nothing_better(
    cluster: Cluster,
    reports: dict[str, NodeStatus],
    presences: dict[str, Presence],
    leader: str | None,
    name: str,
    server: str,
) -> None:
    if name not in reports or reports[name].reached == 0:
        return
    worse = {**reports, name: replace(reports[name], stopped=(*reports[name].stopped, server))}
    # A wait ends in one of the others, so it is compared with neither.
    before, after = (topology(cluster, known, presences, leader) for known in (reports, worse))
    for one, other in zip(healths(before), healths(after), strict=True):
        if Health.STARTING not in (one, other) and one in ORDER:
            assert ORDER.index(other) >= ORDER.index(one)


def healths(seen: Topology) -> list[Health]:
    return [seen.health, *(member.health for member in seen.members)]


@given(report_maps, presence_maps, st.sampled_from(NAMES))
def test_what_happens_to_one_node_does_not_change_what_is_said_of_another(
    reports: dict[str, NodeStatus], presences: dict[str, Presence], gone: str
) -> None:
    seen = topology(trio(), reports, presences, "node-1")
    less = {name: report for name, report in reports.items() if name != gone}
    after = topology(trio(), less, presences, "node-1")
    for one, other in zip(seen.members, after.members, strict=True):
        if one.node.name != gone and gone != "node-1":  # which says who follows it
            assert one == other


# -- Each rule


@pytest.mark.parametrize(
    ("report", "health"),
    [
        ({}, Health.HEALTHY),
        ({"reason": "9 of 10 MiB of storage are used"}, Health.HEALTHY),
        ({"reached": 0}, Health.STARTING),
        ({"reached": 0, "failing": True}, Health.DOWN),
        (
            {"waiting": True, "unresponsive": SERVERS[:1], "reason": "PostgreSQL is starting"},
            Health.STARTING,
        ),
        ({"waiting": True, "stopped": ("PostgreSQL",)}, Health.DOWN),  # such as for another program's port
        ({"failing": True, "stopped": SERVERS}, Health.DOWN),
        ({"failing": True, "unresponsive": SERVERS}, Health.DOWN),  # such as a stopped process
        ({"failing": True, "reason": "writes are refused"}, Health.DEGRADED),
        ({"failing": True, "unresponsive": ("PgBouncer",)}, Health.DEGRADED),
        ({"waiting": True, "stopped": ("PgBouncer",)}, Health.DEGRADED),
        ({"waiting": True, "reason": "the pools are paused"}, Health.DEGRADED),
        ({"backups": BackupReport(unarchived="not archived yet")}, Health.DEGRADED),
        ({"backups": BackupReport(impossible="there is no pgBackRest")}, Health.DEGRADED),
        ({"run": "run-0"}, Health.UNKNOWN),
        ({"run": ""}, Health.UNKNOWN),
    ],
)
def test_the_health_of_one_node_follows_from_its_report(report: dict[str, Any], health: Health) -> None:
    seen = alone(**report)
    assert seen.health is health
    if health is not Health.UNKNOWN:
        assert seen.reason.startswith(report.get("reason", ""))
        assert seen.since == NOW
    if report.get("stopped") or report.get("unresponsive"):
        assert seen.reason


def test_a_state_lasts_since_it_began_and_not_since_the_last_report_on_it() -> None:
    began = NOW - timedelta(hours=3)
    assert alone(since=began).since == began
    assert alone(since=None).since == NOW  # of an agent that wrote none


def test_a_report_of_the_living_agent_counts_before_its_presence_says_that_it_has_looked() -> None:
    key = node_key(CLUSTER.id, "node-1")
    started = NOW - timedelta(minutes=1)
    new = {"here": Presence(run="run-2", directory="", unseen=(key,), started_at=started)}
    seen = alone(new)
    assert (seen.health, seen.since) == (Health.STARTING, started)
    assert alone(new, run="run-2").health is Health.HEALTHY


def test_a_node_that_its_agent_has_not_looked_at_is_starting_and_one_it_is_stuck_on_unknown() -> None:
    key = node_key(CLUSTER.id, "node-1")
    for presence, health, words in (
        (Presence(run="run-2", directory="", unseen=(key,)), Health.STARTING, "not looked at it yet"),
        (Presence(run="run-1", directory="", stalled=(key,)), Health.UNKNOWN, "makes no progress with it"),
        (Presence(run="run-1", directory="", stalled=(f"{key}0",)), Health.HEALTHY, ""),
    ):
        seen = alone({"here": presence})
        assert seen.health is health
        assert words in seen.reason


def test_the_status_is_online_also_when_nothing_is_heard_any_more() -> None:
    seen = alone({})
    assert (seen.health, seen.status) == (Health.UNKNOWN, ClusterStatus.ONLINE)
    assert seen.reason == "the agent of its host does not answer"
    assert seen.since is None
    assert topology(CLUSTER, {"node-1": GOOD}, {}, absences={"here": Absence(since=NOW)}).since == NOW
    unheard = alone(None)
    assert (unheard.health, unheard.status) == (Health.UNKNOWN, ClusterStatus.ONLINE)
    assert unheard.reason == "etcd does not answer"


def test_a_cluster_without_a_report_is_created() -> None:
    seen = topology(CLUSTER, {}, ALIVE)
    assert (seen.health, seen.status) == (Health.STARTING, ClusterStatus.CREATING)
    assert seen.reason == "waiting for the host's agent"


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ({"reached": 0}, ClusterStatus.CREATING),
        ({"size": "another"}, ClusterStatus.RESIZING),
        ({"storage_mib": 2}, ClusterStatus.RESIZING),
        ({"region": "ams3"}, ClusterStatus.MIGRATING),
        ({"size": ""}, ClusterStatus.ONLINE),
        ({"failing": True, "stopped": SERVERS}, ClusterStatus.ONLINE),
    ],
)
def test_the_status_compares_what_is_in_force_with_the_record(
    report: dict[str, Any], expected: ClusterStatus
) -> None:
    assert alone(**report).status is expected


def test_of_several_nodes_only_the_named_one_takes_writes() -> None:
    cluster, reports = trio(), followed("node-2", "node-1", "node-3")
    assert writer(cluster) is None
    assert writer_or_first(cluster).name == "node-1"
    seen = topology(cluster, reports, ALIVE)
    assert (seen.health, seen.reason) == (Health.DOWN, "no node takes writes")
    led = topology(cluster, reports, ALIVE, "node-2")
    assert led.health is Health.HEALTHY
    assert [member.writes for member in led.members] == [False, True, False]


def test_a_standby_that_is_down_degrades_the_cluster_and_is_named() -> None:
    reports = followed("node-1", "node-2", "node-3")
    reports["node-3"] = replace(GOOD, failing=True, stopped=("PostgreSQL",), reason="the disk is full")
    seen = topology(trio(), reports, ALIVE, "node-1")
    assert (seen.health, seen.reason) == (Health.DEGRADED, "node-3 is down: the disk is full")
    assert seen.since == NOW


def test_a_standby_that_works_and_does_not_follow_closely_degrades_the_cluster() -> None:
    reports = followed("node-1", "node-2", "node-3")
    lost = {**reports, "node-1": replace(reports["node-1"], followers=("node-2",))}
    seen = topology(trio(), lost, ALIVE, "node-1")
    assert seen.members[2].health is Health.STARTING, "it does, and the primary has not looked since"
    lost["node-3"] = replace(GOOD, standby=Standby(streaming=False, replayed=1))
    seen = topology(trio(), lost, ALIVE, "node-1")
    words = "node-3 is degraded: it does not follow the primary"
    assert (seen.health, seen.reason) == (Health.DEGRADED, words)
    lagging = replace(GOOD, standby=Standby(streaming=True, replayed=1, behind=65 * 2**20))
    seen = topology(trio(), {**reports, "node-3": lagging}, ALIVE, "node-1")
    words = "node-3 is degraded: it is 65 MiB behind the primary"
    assert (seen.health, seen.reason) == (Health.DEGRADED, words)
    assert [member.standby for member in seen.members] == [None, STREAMS, lagging.standby]
    assert [member.sync for member in seen.members] == [False, True, True]


def test_what_the_writer_said_last_is_not_known_to_be_so_when_its_host_is_away() -> None:
    reports = followed("node-1", "node-2")
    rest = {id: presence for id, presence in ALIVE.items() if id != "a"}
    away = topology(trio(), {**reports, "node-3": GOOD}, rest, "node-1")
    assert [member.sync for member in away.members] == [False] * 3
    assert away.members[2].health is Health.HEALTHY


def test_nodes_that_share_a_host_are_told_to_give_no_protection() -> None:
    nodes = trio().nodes
    cluster = replace(CLUSTER, nodes=(nodes[0], replace(nodes[1], host="a")))
    seen = topology(cluster, followed("node-1", "node-2"), ALIVE, "node-1")
    assert shares_host(cluster)
    assert (seen.health, seen.reason) == (
        Health.DEGRADED,
        "nodes share a host: no protection against its loss",
    )
    assert not shares_host(trio())


def test_a_cluster_is_created_until_each_of_its_nodes_has_worked_once() -> None:
    cluster, reports = trio(), followed("node-1", "node-2")
    assert topology(cluster, reports, ALIVE, "node-1").status is ClusterStatus.CREATING
    reports["node-3"] = replace(GOOD, reached=0)
    assert topology(cluster, reports, ALIVE, "node-1").status is ClusterStatus.CREATING
    reports["node-3"] = replace(GOOD, failing=True, stopped=("PostgreSQL",))
    assert topology(cluster, reports, ALIVE, "node-1").status is ClusterStatus.ONLINE
    added = replace(cluster, nodes=(*cluster.nodes[:2], replace(cluster.nodes[2], added_at=NOW)))
    del reports["node-3"]
    assert topology(added, reports, ALIVE, "node-1").status is ClusterStatus.RESIZING
    for one in (cluster, added):
        lost = replace(one, nodes=(*one.nodes[:2], replace(one.nodes[2], lost_at=NOW)))
        assert topology(lost, reports, ALIVE, "node-1").status is ClusterStatus.ONLINE


def moving(stage: MoveStage) -> Cluster:
    nodes = trio().nodes[:2]
    return replace(
        CLUSTER, nodes=nodes, move=Move(source="node-1", target="node-2", asked_at=NOW, stage=stage)
    )


def test_a_cluster_that_moves_is_judged_by_the_node_that_takes_writes() -> None:
    copying = topology(moving(MoveStage.COPYING), {"node-1": GOOD}, ALIVE)
    assert (copying.health, copying.status) == (Health.HEALTHY, ClusterStatus.ONLINE)
    assert [member.writes for member in copying.members] == [True, False]
    gone = replace(GOOD, stopped=("PostgreSQL",), failing=True)
    leaving = topology(moving(MoveStage.LEAVING), {"node-1": gone, "node-2": GOOD}, ALIVE)
    assert (leaving.health, leaving.status) == (Health.HEALTHY, ClusterStatus.ONLINE)
    assert [member.writes for member in leaving.members] == [False, True]


def test_a_cluster_that_is_switched_is_not_down_and_says_so() -> None:
    held = replace(GOOD, stopped=("PostgreSQL",), waiting=True)
    seen = topology(moving(MoveStage.SWITCHING), {"node-1": held, "node-2": GOOD}, ALIVE)
    assert (seen.health, seen.status) == (Health.STARTING, ClusterStatus.ONLINE)
    assert seen.reason == "its clients wait for a moment, while another host takes over"


def test_a_cluster_whose_new_node_has_not_reported_yet_is_not_created_anew() -> None:
    assert topology(moving(MoveStage.LEAVING), {"node-1": GOOD}, ALIVE).status is ClusterStatus.ONLINE


# -- What follows for the records and the parts


def test_a_record_that_still_has_roles_is_read_without_them() -> None:
    old = msgspec.json.decode(msgspec.json.encode(CLUSTER))
    old["nodes"][0]["role"] = "standby"
    assert msgspec.convert(old, Cluster, strict=False).nodes == CLUSTER.nodes


@pytest.mark.parametrize("name", ["", "..", "a/b", "-a", "node_1", "Node-1", "node-1\n", "n" * 41, "nöde"])
def test_a_record_with_a_node_name_that_is_no_harmless_one_is_not_read(name: str) -> None:
    record = msgspec.json.decode(msgspec.json.encode(CLUSTER))
    record["nodes"][0]["name"] = name
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(record), type=Cluster)


def test_only_one_of_several_nodes_runs_what_writes_and_none_starts_its_own_server() -> None:
    cluster = trio()
    for named in (None, *NAMES):
        contexts = [NodeContext(cluster, node, SITE, leader=named) for node in cluster.nodes]
        writing = [context.node.name for context in contexts if NodeKind.WRITER in context.kinds]
        assert writing == ([] if named is None else [named])
        assert not any(NodeKind.PLAIN in context.kinds for context in contexts)
    assert WANTED.kinds == {NodeKind.WRITER, NodeKind.PLAIN}
    has = {part.name for part in NODE_PARTS if part.is_on(WANTED)}
    assert {part.name for part in NODE_PARTS} - has == {
        *("restore", "base backup", "ending", "standby"),
        *("switching", "way to the primary"),
        *("former standby", "resting"),
    }
