"""A node that Patroni runs: whether commits wait for it, and the data that it copies anew."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from cenote.engine.plan import base_backup, replication
from cenote.engine.plan.context import NodeContext, Peer
from cenote.engine.plan.events import of_base_backup
from cenote.model.changes import Change, EndProcesses, Remove, Rename, Stop, Wait
from cenote.model.failover import Agreed
from cenote.model.records import Configuration, Node
from tests.support.wanted import CLUSTER, SITE, until_wait

TWO = Node(name="node-2", host="there", port=25060, pool_port=25061)
PAIR = msgspec.structs.replace(CLUSTER, nodes=(*CLUSTER.nodes, TWO))
ADDRESSES = {"here": "10.0.0.1", "there": "10.0.0.2"}


def context(leader: str, **settings: str) -> NodeContext:
    """The node here, ``node-1``, while one of the two leads."""
    cluster = msgspec.structs.replace(PAIR, configuration=Configuration(failover={**settings}))
    peer = None if leader == "node-1" else Peer(TWO, "10.0.0.2", "there")
    agreed = Agreed(leader=leader, identifier="7")
    return NodeContext(
        cluster, cluster.nodes[0], SITE, leader=leader, agreed=agreed, peer=peer, addresses=ADDRESSES
    )


def following(wanted: NodeContext, seen: replication.Seen) -> list[Change]:
    return list(replication.plan(wanted, seen))


def test_a_primary_whose_commits_wait_for_no_standby_is_not_as_wanted() -> None:
    alone = replication.Seen(False, followers=("node-2",))
    [wait] = following(context("node-1"), alone)
    assert isinstance(wait, Wait)
    assert "commits do not wait for a standby" in wait.reason
    assert following(context("node-1"), replace(alone, quorum=("node-2",))) == []
    assert following(context("node-1"), replace(alone, followers=())) == [], "the standby is what lacks"
    assert following(context("node-1", synchronous_replication="off"), alone) == []


def test_data_that_cannot_follow_are_kept_until_a_copy_does() -> None:
    wanted = context("node-2")
    paths = wanted.paths
    given_up = base_backup.Seen(has_data=True, is_standby=True, cannot_follow=True)
    changes = list(base_backup.plan(wanted, given_up))
    assert [type(one) for one in changes] == [Stop, EndProcesses, Remove, Rename, Remove, Wait]
    assert changes[2:5] == [
        Remove(paths.former_data),
        Rename(paths.data, paths.former_data),
        Remove(paths.cannot_follow),
    ]
    assert [one for one in changes if of_base_backup(one) is not None] == [changes[3]]
    behind = replication.Seen(True, receiving=True, behind=10**9, has_former=True)
    assert [type(one) for one in following(wanted, behind)] == [Wait]
    assert following(wanted, replace(behind, behind=0)) == [Remove(paths.former_data)]


def test_data_that_were_given_up_and_promoted_then_are_given_up_no_more() -> None:
    leading = context("node-1")
    marked = replication.Seen(False, followers=("node-2",), quorum=("node-2",), given_up=True)
    assert following(leading, marked) == [Remove(leading.paths.cannot_follow)]
    changes = following(leading, replace(marked, recovering=True))
    assert [type(one) for one in changes] == [Wait], "not before its server takes writes"


@pytest.mark.parametrize("has_data", [True, False])
def test_a_stop_in_between_sets_no_copy_aside(has_data: bool) -> None:
    """The mark goes before a copy gets its name, so that it is never taken for one of the copy."""
    wanted = context("node-2")
    if has_data:  # it takes writes itself: nothing is set aside
        leading = context("node-1")
        seen = base_backup.Seen(has_data=True, cannot_follow=True)
        assert list(base_backup.plan(leading, seen)) == []
        return
    seen = base_backup.Seen(has_data=False, has_draft=True, complete=True, cannot_follow=True)
    changes = until_wait(list(base_backup.plan(wanted, seen)))
    assert changes[0] == Remove(wanted.paths.cannot_follow)
    assert Rename(wanted.paths.draft, wanted.paths.data) in changes
