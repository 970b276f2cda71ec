"""The queue of passes: who goes first, how many at once, and that nobody holds the others up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from cenote.agent import pass_queue
from cenote.agent.pass_queue import PassQueue, Turn, Urgency

IDLE, IN_USE, DOWN, CHANGED = Urgency.IDLE, Urgency.IN_USE, Urgency.DOWN, Urgency.CHANGED


async def at_rest() -> None:
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


class Passes:
    """Passes that wait in a queue and note the order of their turns; each ends when it is told to."""

    def __init__(self, queue: PassQueue) -> None:
        self.queue = queue
        self.order: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def begin(self, name: str, urgency: Urgency) -> Turn:
        turn, self.ends[name] = Turn(urgency), asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._run(name, turn))
        return turn

    async def end(self, name: str) -> None:
        self.ends[name].set()
        await at_rest()

    async def _run(self, name: str, turn: Turn) -> None:
        async with self.queue.turn(turn):
            self.order.append(name)
            await self.ends[name].wait()


def run(scenario: Callable[[Passes], Awaitable[None]], at_once: int = 1) -> None:
    async def with_passes() -> None:
        passes = Passes(PassQueue(at_once, starts_at_once=2))
        await scenario(passes)
        for task in passes.tasks.values():
            task.cancel()
        await asyncio.gather(*passes.tasks.values(), return_exceptions=True)

    asyncio.run(with_passes())


def test_a_few_passes_are_under_way_at_once() -> None:
    async def scenario(passes: Passes) -> None:
        for name in "abcde":
            passes.begin(name, IDLE)
        await at_rest()
        assert passes.order == ["a", "b", "c"]
        await passes.end("b")
        assert passes.order == ["a", "b", "c", "d"]

    run(scenario, at_once=3)


def test_what_was_changed_goes_before_what_is_down_before_what_has_clients_before_what_is_idle() -> None:
    async def scenario(passes: Passes) -> None:
        passes.begin("first", IDLE)
        await at_rest()
        for urgency in (IDLE, IN_USE, DOWN, CHANGED, DOWN):
            passes.begin(f"{urgency.name} {len(passes.ends)}", urgency)
        await at_rest()
        for _ in range(5):
            await passes.end(passes.order[-1])
        assert passes.order == ["first", "CHANGED 4", "DOWN 3", "DOWN 5", "IN_USE 2", "IDLE 1"]

    run(scenario)


def test_a_waiting_pass_comes_sooner_when_its_record_changes() -> None:
    async def scenario(passes: Passes) -> None:
        passes.begin("first", IDLE)
        await at_rest()
        passes.begin("down", DOWN)
        idle = passes.begin("idle", IDLE)
        await at_rest()
        passes.queue.expedite(idle)
        passes.queue.expedite(idle)
        await passes.end("first")
        await passes.end("idle")
        await passes.end("down")
        assert passes.order == ["first", "idle", "down"]

    run(scenario)


def test_expediting_a_pass_that_is_under_way_changes_nothing() -> None:
    async def scenario(passes: Passes) -> None:
        turn = passes.begin("first", IDLE)
        passes.begin("second", IDLE)
        await at_rest()
        passes.queue.expedite(turn)
        await at_rest()
        assert passes.order == ["first"]

    run(scenario)


def test_a_pass_that_takes_long_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pass_queue, "TURN_SECONDS", 0.01)

    async def scenario(passes: Passes) -> None:
        passes.begin("hangs", IDLE)
        passes.begin("waits", IDLE)
        async with asyncio.timeout(60):
            while passes.order != ["hangs", "waits"]:
                await asyncio.sleep(0.005)
        # It gives nothing back a second time: one place is free, since "waits" has used its second as well.
        await asyncio.sleep(0.05)
        await passes.end("hangs")
        await passes.end("waits")
        for name in ("one", "two"):
            passes.begin(name, IDLE)
        await at_rest()
        assert passes.order == ["hangs", "waits", "one"]

    run(scenario)


@pytest.mark.parametrize("in_turn", [False, True])
def test_a_cancelled_pass_gives_its_place_back(in_turn: bool) -> None:
    async def scenario(passes: Passes) -> None:
        passes.begin("first", IDLE)
        passes.begin("second", IDLE)
        await at_rest()
        if in_turn:
            passes.ends["first"].set()  # the turn of the second comes, and it is cancelled before it runs
            await asyncio.sleep(0)
        passes.tasks["second"].cancel()
        passes.begin("third", IDLE)
        await at_rest()
        await passes.end("first")
        assert "third" in passes.order

    run(scenario)


def test_a_few_servers_are_started_at_once() -> None:
    async def scenario(passes: Passes) -> None:
        held = [await passes.queue.start(), await passes.queue.start()]
        third = asyncio.create_task(passes.queue.start())
        await at_rest()
        assert not third.done()
        held[0].release()
        held[0].release()
        await at_rest()
        assert third.done()
        fourth = asyncio.create_task(passes.queue.start())
        await at_rest()
        assert not fourth.done()
        fourth.cancel()
        for one in (held[1], third.result()):
            one.release()

    run(scenario)


def test_a_server_that_is_long_in_starting_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pass_queue, "START_SECONDS", 0.01)

    async def scenario(passes: Passes) -> None:
        async with asyncio.timeout(60):
            for _ in range(5):
                await passes.queue.start()

    run(scenario)
