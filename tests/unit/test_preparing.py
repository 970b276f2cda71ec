"""What a node does of its record while it prepares a planned switch, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import msgspec
import pytest

from cenote.agent.node_pass import Converged, NodePass, Waiting
from cenote.agent.preparing import AGAIN, Preparing
from cenote.engine.part import Part
from cenote.engine.parts import GRANTS, POOLER_ACCESS, ROLES, SWITCHING
from cenote.engine.plan import switching
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.switching import Seen
from cenote.errors import CenoteError
from cenote.host.executor import Executor
from cenote.host.sql import Session
from cenote.model.changes import Wait
from cenote.model.records import Cluster, Node, Switchover, SwitchStage
from tests.support.wanted import CLUSTER, NOW, SITE

NODES = tuple(
    Node(name=f"node-{number}", host=host, port=25060, pool_port=25061)
    for number, host in enumerate(("here", "there"), 1)
)
PAIR = msgspec.structs.replace(CLUSTER, nodes=NODES)
WITHOUT_USERS = msgspec.structs.replace(PAIR, users=())
SWITCH = Switchover(source="node-1", target="node-2", asked_at=NOW, until=NOW + timedelta(seconds=60))


def of(cluster: Cluster, switch: Switchover | None = SWITCH) -> NodeContext:
    return NodeContext(
        msgspec.structs.replace(cluster, switchover=switch), NODES[0], SITE, leader="node-1", addresses={}
    )


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_only_what_has_changed_comes_before_a_switch_and_they_take_turns() -> None:
    preparing = Preparing()
    assert not preparing.is_due(of(PAIR, None))
    preparing.tried(of(PAIR, None), remains=False)
    assert not preparing.is_due(of(PAIR)), "the switch alone is no change"
    again = msgspec.structs.replace(SWITCH, tries=1)
    assert not preparing.is_due(of(PAIR, again))

    assert preparing.is_due(of(WITHOUT_USERS))
    preparing.tried(of(WITHOUT_USERS), remains=False)
    assert not preparing.is_due(of(PAIR)), "the switch is gone on with between two changes"
    preparing.waited(of(PAIR), "")
    assert not preparing.is_due(of(PAIR)), "until its checkpoint is written"
    preparing.waited(of(PAIR), SWITCH.attempt)
    assert preparing.is_due(of(PAIR))

    held = msgspec.structs.replace(SWITCH, stage=SwitchStage.HOLDING)
    assert not preparing.is_due(of(PAIR, held)), "clients wait"
    assert not preparing.is_due(replace(of(PAIR), leader="node-2"))


def test_what_a_node_brought_about_while_it_stood_by_is_not_all() -> None:
    preparing = Preparing()
    preparing.tried(replace(of(PAIR, None), leader="node-2"), remains=False)
    assert preparing.is_due(of(PAIR))


def test_what_could_not_be_brought_about_holds_no_switch_up_and_is_tried_again() -> None:
    clock = Clock()
    preparing = Preparing(clock)
    assert preparing.is_due(of(PAIR))
    preparing.tried(of(PAIR), remains=True)
    preparing.waited(of(PAIR), SWITCH.attempt)
    assert not preparing.is_due(of(PAIR))
    clock.now += AGAIN
    assert preparing.is_due(of(PAIR))


class Recorded(NodePass):
    """A pass whose parts do nothing but what the preparation of a switch waits for; ``failing`` ones fail."""

    def __init__(self) -> None:
        super().__init__(cast(Executor, None), asyncio.Semaphore())
        self.done: list[str] = []
        self.failing: tuple[Part[Any], ...] = ()
        self.checkpointed = 100.0

    async def _reconcile(self, part: Part[Any], context: NodeContext, session: Session) -> None:
        self.done.append(part.name)
        if part in self.failing:
            raise CenoteError("a lock")
        if part is SWITCHING:
            seen = Seen(running=True, checkpointed=self.checkpointed)
            self.seen |= switching.report(context, seen)
            self.checkpointed = 0.0 if switching.asked(context) else 100.0
            for change in switching.plan(context, seen):
                if isinstance(change, Wait):
                    raise Waiting(change.reason, often=change.often, at_once=change.at_once)

    async def _look_for_drops(self, _context: NodeContext, _session: Session) -> None:
        self.done.append("drops")

    async def _converged(self, _context: NodeContext, _session: Session) -> Converged:
        return Converged({}, {}, (), None, refuses_writes=False, limits={}, refused={})


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    made = Recorded()

    async def look(_context: NodeContext, _session: Session) -> None:
        return None

    monkeypatch.setattr(made.sql_changes, "look", look)
    monkeypatch.setattr(made.sql_changes, "last", lambda _context: None)
    monkeypatch.setattr(made.sql_changes, "covers", lambda _context: True)
    return made


def ends(made: Recorded, context: NodeContext, has_moved_on: Callable[[], bool] = lambda: False) -> str:
    """Make a pass; return what it waits for or fails with, "" if it was completed."""
    made.done.clear()
    try:
        asyncio.run(made.run(context, cast(Session, None), has_moved_on=has_moved_on))
    except (Waiting, CenoteError) as ended:
        return str(ended)
    return ""


def test_a_user_is_dropped_before_a_node_is_ready_and_while_it_is(made: Recorded) -> None:
    assert ends(made, of(PAIR, None)) == ""
    assert ends(made, of(PAIR)) == "a checkpoint is written"
    assert ends(made, of(PAIR)) == "ready for node-2 to take over"
    assert made.done[-1] == SWITCHING.name
    assert made.seen["ready_for"] == SWITCH.attempt

    assert ends(made, of(WITHOUT_USERS)) == ""
    assert {POOLER_ACCESS.name, ROLES.name, "drops"} <= set(made.done)
    assert SWITCHING.name not in made.done
    assert made.seen["ready_for"] == SWITCH.attempt, "it is ready all the same"
    assert ends(made, of(WITHOUT_USERS)) == "ready for node-2 to take over"
    assert ROLES.name not in made.done

    assert ends(made, of(PAIR), has_moved_on=lambda: True) == "the pools are to be held"
    assert made.done == []
    assert ends(made, of(PAIR)) == "", "it is brought about once there is time"


def test_a_change_that_fails_keeps_no_switch_from_being_prepared(made: Recorded) -> None:
    made.failing = (GRANTS,)
    assert ends(made, of(PAIR)) == "a lock"
    assert ends(made, of(PAIR)) == "a checkpoint is written"
    assert ends(made, of(PAIR)) == "ready for node-2 to take over"
    assert ends(made, of(PAIR)) == "ready for node-2 to take over"
