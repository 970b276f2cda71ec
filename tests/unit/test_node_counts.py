"""More and fewer nodes: names are never given twice, and the one that takes writes stays."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cenote.errors import Busy
from cenote.model.records import Cluster, Move, Node
from cenote.model.status_records import NodeStatus, Standby
from cenote.rules.node_counts import check, grown, shrunk
from cenote.rules.scheduling import Placement
from tests.support.wanted import CLUSTER, NOW
from tests.unit.test_scheduling import host

NAMES = ("node-1", "node-2", "node-3")
FOLLOWS = NodeStatus(reached=5, at=NOW, standby=Standby(streaming=True, replayed=1))


def of_hosts(*hosts: str, **fields: Any) -> Cluster:
    nodes = tuple(
        Node(name=f"node-{number}", host=id, port=number, pool_port=9) for number, id in enumerate(hosts, 1)
    )
    return replace(CLUSTER, nodes=nodes, **fields)


def test_further_nodes_get_names_that_none_has_had_and_say_when_they_came() -> None:
    placed = [Placement(host("b"), 1, 2, 3), Placement(host("c"), 4, 5, 6)]
    after = grown(of_hosts("a", last_node=4), placed, NOW)
    assert [node.name for node in after.nodes] == ["node-1", "node-5", "node-6"]
    assert [node.added_at for node in after.nodes] == [None, NOW, NOW]
    assert (after.last_node, after.nodes[2].host, after.nodes[2].pool_port) == (6, "c", 5)


@given(
    st.lists(st.sampled_from("abc"), min_size=2, max_size=3),
    st.integers(1, 2),
    st.sampled_from(NAMES[:2]),
    st.dictionaries(st.sampled_from(NAMES), st.just(FOLLOWS)),
    st.sets(st.sampled_from("abc")),
)
def test_the_node_that_takes_writes_stays_and_none_is_forgotten(
    hosts: list[str], count: int, leader: str, reports: dict[str, NodeStatus], drained: set[str]
) -> None:
    before = of_hosts(*hosts)
    after = shrunk(before, count, leader, reports, drained)
    assert len(after.nodes) == min(count, len(hosts))
    assert leader in {node.name for node in after.nodes}
    assert {*after.nodes, *after.left} == {*before.nodes}
    assert after.last_node >= len(hosts), "no name is given twice"


@pytest.mark.parametrize(
    ("hosts", "reports", "drained", "gone"),
    [
        pytest.param("abc", {"node-2": FOLLOWS}, "", "node-3", id="does not follow"),
        pytest.param("abc", {"node-2": FOLLOWS, "node-3": FOLLOWS}, "b", "node-2", id="drained"),
        pytest.param("aab", {"node-2": FOLLOWS, "node-3": FOLLOWS}, "", "node-2", id="shares the host"),
    ],
)
def test_the_node_that_serves_least_is_removed(
    hosts: str, reports: dict[str, NodeStatus], drained: str, gone: str
) -> None:
    after = shrunk(of_hosts(*hosts), 2, "node-1", reports, set(drained))
    assert [node.name for node in after.left] == [gone]


def test_a_number_is_not_changed_while_something_else_is_under_way() -> None:
    with pytest.raises(Busy, match="No node takes writes"):
        shrunk(of_hosts("a", "b"), 1, None, {})
    moving = of_hosts("a", "b", move=Move(source="node-1", target="node-2", asked_at=NOW))
    check(moving, 1)
    with pytest.raises(Busy, match="being moved"):
        check(moving, 2)
