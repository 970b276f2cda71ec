"""How often the past of pools is gone through for advice."""

from __future__ import annotations

from typing import Any

import pytest

from cenote.api import pool_advice
from cenote.model.timing import Timing
from cenote.stats.facts import gather
from tests.support.api import POOL, Api, Apis

Made = list[tuple[Any, ...]]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    """What advice was made from, so far."""
    made: Made = []

    def counted(*given: Any, **named: Any) -> Any:
        made.append(given)
        return gather(*given, **named)

    monkeypatch.setattr(pool_advice, "gather", counted)
    return made


def test_advice_is_made_once_for_all_who_ask_at_a_time_and_again_for_a_cluster_that_has_changed(
    apis: Apis, made: Made
) -> None:
    async def scenario(api: Api) -> None:
        cluster, other = await api.add_cluster(), await api.add_cluster(name="other")

        async def ask(path: str) -> int:
            await api.call("GET", f"{path}/pool_advice", 200)
            return len(made)

        assert [await ask(cluster) for _ in range(3)] == [1, 1, 1]
        assert await ask(other) == 2
        await api.call("POST", f"{cluster}/pools", 201, json=POOL)
        assert [await ask(cluster) for _ in range(2)] == [3, 3]

    apis.run(scenario, timing=Timing(advice_max_age=60))


def test_advice_that_is_too_old_is_made_again(apis: Apis, made: Made) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        for number in (1, 2, 3):
            await api.call("GET", f"{cluster}/pool_advice", 200)
            assert len(made) == number

    apis.run(scenario, timing=Timing(advice_max_age=0))
