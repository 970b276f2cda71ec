"""How the upgrade of a cluster with several nodes goes on, by the reports of its nodes."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.errors import Busy
from cenote.model import topology
from cenote.model.records import Cluster, MajorUpgrade, Node, UpgradeStep
from cenote.model.status_records import NodeStatus, UpgradeReport
from cenote.model.topology import Health, Member
from cenote.rules import record_formats, upgrades_of_nodes
from tests.support.wanted import CLUSTER, NOW, SITE

OLD, NEW = "1111", "2222"  # system identifiers
NODES = (
    CLUSTER.nodes[0],
    Node(name="node-2", host="there", port=25060, pool_port=25061),
    Node(name="node-3", host="elsewhere", port=25060, pool_port=25061),
)
TRIO = replace(CLUSTER, nodes=NODES, failover_login="sealed")
BEGUN = upgrades_of_nodes.begun(TRIO, "17", "node-2", NOW)
NAMES = [node.name for node in NODES]


def at(step: UpgradeStep, **fields: object) -> Cluster:
    mark = BEGUN.major_upgrade
    assert mark is not None
    return replace(BEGUN, major_upgrade=replace(mark, step=step, **fields))


def reported(**fields: object) -> NodeStatus:
    told = {name: fields.pop(name) for name in list(fields) if name in UpgradeReport.__struct_fields__}
    report = replace(UpgradeReport(asked_at=NOW, system=OLD), **told)
    return replace(NodeStatus(reached=7, at=NOW, data_version="15", major_upgrade=report), **fields)


def step_of(cluster: Cluster) -> UpgradeStep | None:
    return None if cluster.major_upgrade is None else cluster.major_upgrade.step


def stepped(
    cluster: Cluster, reports: dict[str, NodeStatus], holder: str | None = None, after: float = 1
) -> Cluster:
    now = NOW + timedelta(seconds=after)
    return upgrades_of_nodes.stepped(cluster, 7, reports, holder, now)


def test_the_node_that_takes_writes_is_upgraded_and_the_others_rest() -> None:
    assert BEGUN.version == "17"
    assert record_formats.needed(BEGUN) == record_formats.WITH_MAJOR_UPGRADES
    kinds = {
        step: [NodeContext(at(step), node, SITE, leader="node-2").kinds for node in NODES]
        for step in UpgradeStep
    }
    upgraded = frozenset({NodeKind.WRITER, NodeKind.PLAIN, NodeKind.UPGRADING})
    resting, managed = frozenset({NodeKind.RESTING}), frozenset({NodeKind.MANAGED})
    for step in UpgradeStep:
        match step:
            case UpgradeStep.RELEASING:
                assert kinds[step] == [managed, upgraded, managed]
            case UpgradeStep.REJOINING:
                assert kinds[step] == [managed, managed | {NodeKind.WRITER}, managed]
            case _:
                assert kinds[step] == [resting, upgraded, resting]


def test_no_node_is_upgraded_while_none_takes_writes_or_one_lacks_something() -> None:
    with pytest.raises(Busy, match="No node takes writes"):
        upgrades_of_nodes.begun(TRIO, "17", None, NOW)
    healthy = Member(node=NODES[0], writes=True, health=Health.HEALTHY)
    lagging = Member(node=NODES[1], writes=False, health=Health.DEGRADED, reason="it is 70 MiB behind")
    upgrades_of_nodes.check([healthy, replace(lagging, node=replace(NODES[1], lost_at=NOW))])
    with pytest.raises(Busy, match="node-2 is degraded: it is 70 MiB behind"):
        upgrades_of_nodes.check([healthy, lagging])


def test_each_step_waits_for_what_the_next_one_needs() -> None:
    former = {name: reported() for name in NAMES}
    resting = former | {name: reported(stage="resting") for name in ("node-1", "node-3")}
    attempt = NOW.isoformat()
    checked = resting | {"node-2": reported(stage="checking", checked=True)}
    held = {name: replace(report, held_for=attempt) for name, report in checked.items()}
    working = resting | {"node-2": reported(stage="statistics", system=NEW, data_version="17", held_ms=3000)}
    ready = replace(at(UpgradeStep.RESTING), failover_login="")
    for cluster, early, enough, step in (
        (BEGUN, {"node-2": reported(reached=6)}, former, UpgradeStep.RESTING),
        (ready, resting | {"node-3": reported()}, resting, UpgradeStep.CHECKING),
        (at(UpgradeStep.CHECKING), resting, checked, UpgradeStep.HOLDING),
        (at(UpgradeStep.HOLDING), held | {"node-3": checked["node-3"]}, held, UpgradeStep.UPGRADING),
        (at(UpgradeStep.UPGRADING), held, working, UpgradeStep.REJOINING),
    ):
        assert stepped(cluster, early) is cluster
        assert step_of(stepped(cluster, enough)) is step
    with_login = at(UpgradeStep.RESTING)
    assert stepped(with_login, resting) is with_login, "Patroni of an absent host could still act"
    assert step_of(stepped(at(UpgradeStep.HOLDING), checked, after=16)) is UpgradeStep.UPGRADING


def test_it_is_not_too_late_once_all_others_rest() -> None:
    resting = {name: reported(stage="resting") for name in NAMES}
    cluster = at(UpgradeStep.RESTING)  # its login may be gone, though the record has it
    assert stepped(cluster, resting, None, 121) is cluster
    ready = replace(cluster, failover_login="")
    assert step_of(stepped(ready, resting, None, 121)) is UpgradeStep.CHECKING


def test_without_a_standby_that_is_there_none_has_to_rest() -> None:
    lost = tuple(replace(node, lost_at=NOW) if node.name != "node-2" else node for node in NODES)
    cluster = replace(at(UpgradeStep.RESTING), nodes=lost)
    assert upgrades_of_nodes.are_resting(cluster, {"node-2": reported()})
    ready = replace(cluster, failover_login="")
    assert step_of(stepped(ready, {"node-2": reported()})) is UpgradeStep.CHECKING
    for early in (BEGUN, at(UpgradeStep.REJOINING)):  # Patroni works
        assert not upgrades_of_nodes.are_resting(replace(early, nodes=lost), {})


def test_upgrade_that_was_over_before_the_copy_of_the_store_ends() -> None:
    done = {"node-2": reported(done=True, system=NEW, data_version="17")}
    for step in (UpgradeStep.CHECKING, UpgradeStep.UPGRADING):
        over = stepped(at(step), done)
        assert (over.version, step_of(over)) == ("17", UpgradeStep.REJOINING)


def test_nodes_come_together_by_the_data_that_the_upgrade_has_left() -> None:
    working = {"node-2": reported(stage="statistics", system=NEW, data_version="17")}
    joining = stepped(at(UpgradeStep.UPGRADING), working)
    assert (joining.version, joining.major_upgrade and joining.major_upgrade.system) == ("17", NEW)
    former = {name: reported() for name in NAMES} | working
    anew = {name: reported(system=NEW, data_version="17") for name in NAMES}
    assert stepped(joining, former, "node-2") is joining
    assert stepped(joining, anew, None) is joining
    over = stepped(joining, anew, "node-2")
    assert (over.version, over.major_upgrade) == ("17", None)


def test_a_refusal_takes_the_version_back_and_keeps_all_data() -> None:
    refused = {name: reported(stage="resting") for name in NAMES}
    refused["node-2"] = reported(stage="refused", refused="no room")
    back = stepped(at(UpgradeStep.CHECKING), refused)
    assert (back.version, step_of(back)) == ("15", UpgradeStep.REJOINING)
    assert back.major_upgrade is not None
    assert back.major_upgrade.system == OLD
    same = {name: reported() for name in NAMES}
    assert stepped(back, same, "node-2") == TRIO


@pytest.mark.parametrize(
    ("cluster", "holder", "after", "words"),
    [
        pytest.param(BEGUN, "node-3", 1, "node-3 has taken over from node-2", id="another leads"),
        pytest.param(at(UpgradeStep.RESTING), None, 121, "not stopped within 120 seconds", id="late"),
        pytest.param(
            replace(at(UpgradeStep.UPGRADING), nodes=(NODES[0], replace(NODES[1], lost_at=NOW), NODES[2])),
            None,
            1,
            "the host of node-2 was removed",
            id="lost",
        ),
    ],
)
def test_what_cannot_be_begun_is_given_up(
    cluster: Cluster, holder: str | None, after: float, words: str
) -> None:
    now = NOW + timedelta(seconds=after)
    assert words in upgrades_of_nodes.why_given_up(cluster, {}, holder, now)
    back = stepped(cluster, {}, holder, after)
    assert (back.version, back.major_upgrade) == ("15", None)


REPORTS = st.fixed_dictionaries(
    {},
    optional={
        name: st.builds(
            reported,
            stage=st.sampled_from(["", "resting", "checking", "running", "statistics", "done", "refused"]),
            checked=st.booleans(),
            system=st.sampled_from(["", OLD, NEW]),
            data_version=st.sampled_from(["", "15", "17"]),
            reached=st.integers(6, 8),
            held_for=st.sampled_from(["", NOW.isoformat()]),
        )
        for name in NAMES
    },
)


@given(
    looks=st.lists(st.tuples(REPORTS, st.sampled_from([None, *NAMES]), st.booleans()), max_size=12),
    seconds=st.lists(st.floats(0, 200), min_size=12, max_size=12),
)
def test_whatever_is_reported_one_node_at_most_takes_writes_and_no_data_of_it_is_former(
    looks: list[tuple[dict[str, NodeStatus], str | None, bool]], seconds: list[float]
) -> None:
    cluster, now = BEGUN, NOW
    for (reports, holder, forgets), passed in zip(looks, seconds, strict=False):
        now += timedelta(seconds=passed)
        if forgets and upgrades_of_nodes.are_resting(cluster, reports):
            cluster = replace(cluster, failover_login="")
        before, cluster = cluster, upgrades_of_nodes.stepped(cluster, 7, reports, holder, now)
        alone = topology.upgraded_alone(cluster)
        assert alone in ("", "node-2")
        if alone and not upgrades_of_nodes.needs_login(cluster):
            assert not cluster.failover_login, "no Patroni can take over beside a node without one"
        if cluster.major_upgrade is None:
            assert cluster.version in ("15", "17")
            break
        if step_of(cluster) is UpgradeStep.REJOINING and step_of(before) is not UpgradeStep.REJOINING:
            told = reports.get("node-2")
            mark = cluster.major_upgrade
            assert not mark.system or (told is not None and told.major_upgrade is not None)


def test_an_upgraded_node_that_is_lost_before_others_have_its_data_leaves_the_former_version() -> None:
    lost = (NODES[0], replace(NODES[1], lost_at=NOW), NODES[2])
    cluster = replace(at(UpgradeStep.REJOINING, system=NEW), nodes=lost)
    former = {name: reported() for name in ("node-1", "node-3")}
    after = stepped(cluster, former)
    assert (after.version, after.major_upgrade) == ("15", None)
    words = upgrades_of_nodes.why_given_up(cluster, former, None, NOW)
    assert words.startswith("the host of node-2 was removed; what was committed there since ")
    for reports, holder in (
        (former | {"node-3": reported(system=NEW)}, None),  # it has the upgraded data, and may take over
        (former, "node-3"),
    ):
        assert stepped(cluster, reports, holder) is cluster
        assert not upgrades_of_nodes.why_given_up(cluster, reports, holder, NOW)
    there = at(UpgradeStep.REJOINING, system=NEW)
    assert stepped(there, former) is there, "a host that is away may come back with the data"


@pytest.mark.parametrize("step", [UpgradeStep.RELEASING, UpgradeStep.RESTING])
def test_an_upgrade_is_not_given_up_for_being_late_while_its_host_is_away_and_nobody_leads(
    step: UpgradeStep,
) -> None:
    cluster, late = at(step), NOW + timedelta(seconds=121)
    assert upgrades_of_nodes.stepped(cluster, 7, {}, None, late, is_away=True) is cluster
    for holder, is_away in ((None, False), ("node-2", True)):
        after = upgrades_of_nodes.stepped(cluster, 7, {}, holder, late, is_away=is_away)
        assert (after.version, after.major_upgrade) == ("15", None)
    nodes = (NODES[0], replace(NODES[1], lost_at=NOW), NODES[2])
    removed = upgrades_of_nodes.stepped(replace(cluster, nodes=nodes), 7, {}, None, late, is_away=True)
    assert removed.major_upgrade is None


def test_steps_are_those_of_several_nodes_only() -> None:
    one = replace(CLUSTER, version="17", major_upgrade=MajorUpgrade(source="15", asked_at=NOW))
    assert upgrades_of_nodes.stepped(one, 7, {}, None, datetime.max.replace(tzinfo=NOW.tzinfo)) is one
    assert upgrades_of_nodes.begun(CLUSTER, "17", None, NOW) == one


def test_the_others_take_over_from_a_node_that_is_lost_in_the_middle() -> None:
    lost = (NODES[0], replace(NODES[1], lost_at=NOW), NODES[2])
    cluster = replace(at(UpgradeStep.CHECKING), nodes=lost, failover_login="")
    assert upgrades_of_nodes.candidates(cluster) == ["node-1", "node-3"]
    for holder, is_lost in ((None, True), ("node-2", True), ("node-3", False)):
        assert upgrades_of_nodes.is_lost(cluster, holder) is is_lost
    assert not upgrades_of_nodes.is_lost(at(UpgradeStep.CHECKING), None), "its host may come back"
    configuration = replace(CLUSTER.configuration, failover={"synchronous_replication": "off"})
    assert not upgrades_of_nodes.candidates(replace(cluster, configuration=configuration))
    for step in UpgradeStep:
        new = replace(at(step), nodes=lost)
        assert upgrades_of_nodes.has_new_version(new) is (step is UpgradeStep.REJOINING)
        assert not upgrades_of_nodes.has_new_version(replace(new, version="15"))


def test_a_lost_upgrade_is_given_up_once_patronis_login_is_gone_where_that_goes() -> None:
    """Else the others would get one that is about to be removed."""
    lost = (NODES[0], replace(NODES[1], lost_at=NOW), NODES[2])
    cluster = replace(at(UpgradeStep.RESTING), nodes=lost)
    resting = {name: reported(stage="resting") for name in ("node-1", "node-3")}
    assert stepped(cluster, resting) is cluster
    going = stepped(replace(cluster, failover_login=""), resting)
    assert (going.version, going.major_upgrade) == ("15", None)
    assert stepped(cluster, resting | {"node-3": reported()}).major_upgrade is None
