"""What becomes of the standbys of a cluster whose primary is upgraded to another major version."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from cenote.engine.plan import former_standby, pooler, routing
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.former_standby import RESTING, Seen
from cenote.model.changes import EndProcesses, Remove, Stop, Wait
from cenote.model.failover import Agreed
from cenote.model.records import MajorUpgrade, Node, UpgradeStep
from cenote.model.status_records import UpgradeReport
from tests.support.wanted import CLUSTER, NOW, SITE, kinds

OLD, NEW = "1111", "2222"
SECOND = Node(name="node-2", host=CLUSTER.nodes[0].host, port=25070, pool_port=CLUSTER.nodes[0].pool_port)
MARK = MajorUpgrade(source="15", asked_at=NOW, node="node-1", step=UpgradeStep.CHECKING)


def of_node(node: Node, **fields: object) -> NodeContext:
    mark = msgspec.structs.replace(MARK, **fields)
    cluster = msgspec.structs.replace(CLUSTER, nodes=(*CLUSTER.nodes, SECOND), major_upgrade=mark)
    return NodeContext(cluster, node, SITE, leader="node-1", data_version="15")


@pytest.mark.parametrize("step", [step for step in UpgradeStep if step is not UpgradeStep.REJOINING])
def test_nothing_of_a_standbys_data_is_removed_before_the_upgrade_is_decided(step: UpgradeStep) -> None:
    context = of_node(SECOND, step=step)
    changes = list(former_standby.plan(context, Seen(managed=True, running=True, system=OLD)))
    assert not {Remove, EndProcesses} & set(kinds(changes))
    assert kinds(changes) == ([] if step is UpgradeStep.RELEASING else [Stop, Stop])


def test_resting_is_told_once_nothing_works_any_more() -> None:
    context = of_node(SECOND)

    def told(seen: Seen) -> UpgradeReport:
        report = former_standby.report(context, seen)["major_upgrade"]
        assert isinstance(report, UpgradeReport)
        return report

    assert told(Seen(running=True, system=OLD)).stage == ""
    assert told(Seen(managed=True, system=OLD)).stage == ""
    assert told(Seen(system=OLD)) == UpgradeReport(asked_at=NOW, stage=RESTING, system=OLD)
    assert kinds(list(former_standby.plan_to_rest(context, Seen()))) == [Wait]


def test_data_of_the_former_system_make_way_for_a_copy_and_no_others_do() -> None:
    decided = replace(of_node(SECOND, step=UpgradeStep.REJOINING, system=NEW), agreed=Agreed(leader="node-1"))
    changes = list(former_standby.plan(decided, Seen(managed=True, running=True, system=OLD)))
    assert kinds(changes) == [Stop, Stop, EndProcesses, Remove]
    for seen in (Seen(system=NEW), Seen(system="")):
        assert not list(former_standby.plan(decided, seen))
    upgraded = of_node(CLUSTER.nodes[0], step=UpgradeStep.REJOINING, system=NEW)
    assert not list(former_standby.plan(upgraded, Seen(system=OLD)))
    refused = of_node(SECOND, step=UpgradeStep.REJOINING, system=OLD)
    assert not list(former_standby.plan(refused, Seen(system=OLD)))


@pytest.mark.parametrize("leader", [None, "node-2"])
def test_no_former_data_are_removed_before_another_node_takes_writes(leader: str | None) -> None:
    decided = of_node(SECOND, step=UpgradeStep.REJOINING, system=NEW)
    changes = former_standby.plan(replace(decided, agreed=Agreed(leader=leader)), Seen(True, True, OLD))
    assert kinds(list(changes))[:3] == [Stop, Stop, Wait]


def test_readers_are_led_to_the_node_that_takes_writes_meanwhile() -> None:
    context = of_node(SECOND)
    assert pooler.standby(context) == pooler.primary(context)
    calm = replace(context, cluster=msgspec.structs.replace(context.cluster, major_upgrade=None))
    assert pooler.standby(calm) != pooler.primary(calm)


def test_hosts_tell_for_which_upgrade_their_pools_are_held() -> None:
    seen = routing.Seen()  # no pooler works, so nobody has to be held
    assert routing.report(of_node(SECOND), seen)["held_for"] == ""
    assert routing.report(of_node(SECOND, step=UpgradeStep.HOLDING), seen)["held_for"] == NOW.isoformat()
