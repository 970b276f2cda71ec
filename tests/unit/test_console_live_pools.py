"""Live updates of the connection pools page, from the API's stream."""

from __future__ import annotations

import itertools
import json
from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cenote.console.live_pools import ANNOUNCE_EVERY, CALM_SAMPLES, Announcer, LivePools
from cenote.console.pool_charts import MANY, POINTS, PoolTrail, points
from cenote.console.rendering import Templates, assets

BEGIN = 1_800_000_000.0
TEMPLATES = Templates(assets())
CONNECTIONS = {"all": 25, "reserved": 3, "allocated": 4, "left": 18, "sessions": 2}


def live(*pools: str, since: float = BEGIN, points: int = POINTS) -> LivePools:
    def advised(advice: list[Any], pool: str) -> str:
        return "".join(one["sentence"] for one in advice)

    trails = {name: PoolTrail(points) for name in pools}
    return LivePools(partial(TEMPLATES.part, "pool.html"), advised, trails, since)


def sample(at: float, waiting: int = 0, size: int = 2, pools: tuple[str, ...] = ("web",)) -> bytes:
    seen = [
        {
            "name": name,
            "mode": "transaction",
            "size": size,
            "poolers": 1,
            "clients_active": 3,
            "clients_waiting": waiting,
            "servers_active": 2,
            "servers_idle": 0,
            "longest_wait_seconds": 0.25,
            "transactions_per_second": 17.5,
            "queries_per_second": 20.0,
        }
        for name in pools
    ]
    return event("sample", {"at": at, "connections": CONNECTIONS, "busy": 0.1, "pools": seen})


def event(kind: str, data: Any) -> bytes:
    return f"id: 1\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()


def read(sent: bytes) -> list[tuple[str, Any]]:
    found = []
    for block in sent.decode().split("\n\n")[:-1]:
        kind, data = block.split("\n")
        found.append((kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def parts(sent: bytes) -> dict[str, str]:
    return next((data for kind, data in read(sent) if kind == "parts"), {})


def test_the_first_sample_sends_every_part_and_the_next_one_what_has_changed() -> None:
    page = live("web")
    first = parts(page.translate(sample(BEGIN - 1000)))
    for second in range(-998, 2, 2):
        page.translate(sample(BEGIN + second))
    assert first.keys() == {
        *("budget/numbers", "budget/shares", "not_counted"),
        *("web/clients", "web/servers", "web/wait", "web/rate", "web/summary"),
        *("web/clients_chart", "web/servers_chart", "web/wait_chart", "web/rate_chart"),
    }
    assert page.translate(sample(BEGIN + 2)) == b""
    changed = parts(page.translate(sample(BEGIN + 4, waiting=1)))
    assert changed.keys() == {"web/clients", "web/clients_chart", "web/summary"}
    assert 'data-v="waiting">1</b> waiting' in changed["web/clients"]


def test_with_many_pools_charts_come_less_often_than_numbers() -> None:
    names = tuple(f"pool-{number}" for number in range(MANY + 1))
    page = live(*names, points=points(len(names)))
    sent = [parts(page.translate(sample(BEGIN + 2 * tick, tick % 2, pools=names))) for tick in range(40)]
    assert all("pool-3/clients" in one for one in sent)
    assert 1 < sum("pool-3/clients_chart" in one for one in sent) <= 40 / 3


def test_a_sample_that_comes_twice_changes_nothing() -> None:
    page = live("web")
    page.translate(sample(BEGIN + 2))
    assert page.translate(sample(BEGIN + 2, waiting=5)) == b""
    assert page.translate(sample(BEGIN, waiting=5)) == b""


@given(cuts=st.sets(st.integers(1, 400)))
def test_events_may_come_in_pieces(cuts: set[int]) -> None:
    whole = b"retry: 2000\n\n" + sample(BEGIN) + b": \n\n" + sample(BEGIN + 2, waiting=3)
    page, cut = live("web"), sorted(cuts)
    pieces = [whole[i:j] for i, j in zip([0, *cut], [*cut, len(whole)], strict=True)]
    assert b"".join(page.translate(piece) for piece in pieces) == live("web").translate(whole)


def test_other_events_are_passed_on_as_they_are() -> None:
    for other in (b"retry: 2000\n\n", b": \n\n", event("end", {"reason": "gone"}), event("unavailable", {})):
        assert live("web").translate(other) == other


def test_advice_is_sent_for_each_pool_and_taken_back() -> None:
    page = live("web", "jobs")
    grow = {"kind": "grow", "pool": "web", "sentence": "Grow it."}
    limit = {"kind": "limit", "sentence": "Sessions are near the limit."}
    first = parts(page.translate(event("advice", [grow, limit])))
    assert first == {"/advice": limit["sentence"], "web/advice": grow["sentence"], "jobs/advice": ""}
    assert parts(page.translate(event("advice", [limit]))) == {"web/advice": ""}


def test_the_page_is_told_of_other_pools_once_they_are_all_in_the_samples() -> None:
    page = live("web", "jobs")
    sent = [page.translate(sample(at, pools=("web",))) for at in (BEGIN - 2, BEGIN, BEGIN + 2)]
    assert not [kind for one in sent for kind, _ in read(one) if kind == "pools"]
    both = read(page.translate(sample(BEGIN + 4, pools=("web", "jobs"))))
    assert ("pools", "web transaction, jobs transaction") in both
    gone = read(page.translate(sample(BEGIN + 6, pools=("jobs",))))
    assert ("pools", "jobs transaction") in gone


def test_a_pool_that_is_gone_before_its_first_sample_is_noticed_in_the_end() -> None:
    page = live("web", "jobs")
    sent = [page.translate(sample(BEGIN + second)) for second in range(0, 20, 2)]
    assert [data for one in sent for kind, data in read(one) if kind == "pools"] == ["web transaction"]


def test_names_are_escaped_in_what_is_sent() -> None:
    sent = parts(live("<b>").translate(sample(BEGIN, pools=("<b>",))))
    assert "<b>:" not in sent["budget/shares"]
    assert "&lt;b&gt;: 2" in sent["budget/shares"]


# -- Announcements


def announced(waiting: list[int], every: float = ANNOUNCE_EVERY) -> list[str]:
    announcer, found = Announcer(), []
    for number, clients in enumerate(waiting):
        announcer.note("web", clients)
        found.append(announcer.next(BEGIN + every * number))
    return found


def test_waiting_is_announced_when_it_begins_and_when_it_ends() -> None:
    assert announced([0, 1, 4, *[0] * CALM_SAMPLES, 0, 2]) == [
        *("", "Pool web: 1 client is waiting.", ""),
        *([""] * (CALM_SAMPLES - 1)),
        *("Pool web: no clients are waiting.", "", "Pool web: 2 clients are waiting."),
    ]


def test_a_moment_without_waiting_is_not_announced_as_its_end() -> None:
    assert announced([3, 0, 0, 3, 0, 3])[1:] == [""] * 5


def test_announcements_are_no_nearer_to_each_other_than_a_listener_can_bear() -> None:
    said = announced([1, 0, 0, 0] * 30, every=2.0)
    times = [2.0 * number for number, text in enumerate(said) if text]
    assert len(times) > 3
    assert all(after - before >= ANNOUNCE_EVERY for before, after in itertools.pairwise(times))
