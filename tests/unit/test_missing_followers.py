"""How soon the writer's host looks again whether all other nodes follow."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from cenote.agent.missing_followers import LONG_PAUSE, PAUSE, SOON, MissingFollowers
from cenote.model.records import Node
from cenote.model.status_records import NodeStatus
from tests.support.wanted import CLUSTER, NOW

NODES = tuple(Node(name=f"node-{number}", host="a", port=1, pool_port=2) for number in (1, 2, 3))
TRIO = replace(CLUSTER, nodes=NODES)
OTHERS = ("node-2", "node-3")


def test_it_is_looked_often_until_all_follow_and_after_a_while_less() -> None:
    at = [100.0]
    missing = MissingFollowers(lambda: at[0])

    def pause(*, leads: bool = True, **seen: Any) -> float | None:
        return missing.look_after(TRIO, NodeStatus(reached=5, at=NOW, **seen), leads=leads)

    assert pause(followers=OTHERS, quorum=OTHERS) is None
    assert pause(leads=False) is None
    assert pause(followers=OTHERS[:1]) == PAUSE
    assert pause(followers=OTHERS, quorum=OTHERS[:1]) == PAUSE, "commits are to wait for each"
    at[0] += SOON
    assert pause(followers=OTHERS[:1]) == LONG_PAUSE
    assert pause(followers=OTHERS) is None, "commits need not wait for standbys"
    assert pause(followers=OTHERS, quorum=OTHERS) is None
    assert pause(followers=OTHERS[:1]) == PAUSE, "another one has left"


def test_a_node_that_was_lost_with_its_host_is_not_waited_for() -> None:
    lost = replace(TRIO, nodes=(*NODES[:2], replace(NODES[2], lost_at=NOW)))
    seen = NodeStatus(reached=5, at=NOW, followers=OTHERS[:1], quorum=OTHERS[:1])
    assert MissingFollowers(lambda: 0.0).look_after(lost, seen, leads=True) is None
