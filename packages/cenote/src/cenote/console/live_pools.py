"""Live updates of the connection pools page: from the API's stream to the parts of the page that changed.

The parts are rendered by the macros that render the whole page, so there is one renderer of the charts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from cenote.console.pool_charts import PoolSample, PoolTrail

NUMBERS = ("clients", "servers", "wait", "rate", "summary")
CHARTS = ("clients_chart", "servers_chart", "wait_chart", "rate_chart")
ANNOUNCE_EVERY = 15.0  # seconds between two announcements to a screen reader
CALM_SAMPLES = 3  # without a waiting client, after which waiting is announced as over
FIRST_SAMPLE = 10.0  # seconds that a new pool has until it is in the samples


def shown(pools: Iterable[Any]) -> str:
    """Return what has to be the same for updates to fit a page that shows these pools."""
    return ", ".join(f"{pool['name']} {pool['mode']}" for pool in pools)


class LivePools:
    """The state of one open page: the trails of its pools, and what it was sent.

    ``render`` renders a macro of ``pool.html``, ``advised`` the advice on a pool as this session may see it.
    """

    def __init__(
        self,
        render: Callable[..., str],
        advised: Callable[[list[Any], str], str],
        trails: dict[str, PoolTrail],
        since: float,
    ) -> None:
        self._render, self._advised, self._trails, self._since = render, advised, trails, since
        self._sent: dict[str, str] = {}
        self._pools = ""
        self._announcer = Announcer()
        self._unfinished = b""

    def translate(self, chunk: bytes) -> bytes:
        """Return a chunk of the API's stream as the page's; an incomplete event waits for the next chunk."""
        *blocks, self._unfinished = (self._unfinished + chunk).split(b"\n\n")
        return b"".join(self._block(block) for block in blocks)

    def _block(self, block: bytes) -> bytes:
        lines = [line.partition(b": ") for line in block.split(b"\n")]
        fields = {name: value for name, _, value in lines}
        match fields.get(b"event"):
            case b"sample":
                events = self._sample(msgspec.json.decode(fields[b"data"]))
            case b"advice":
                events = self._advice(msgspec.json.decode(fields[b"data"]))
            case _:
                return block + b"\n\n"
        return b"".join(
            b"event: %s\ndata: %s\n\n" % (kind.encode(), msgspec.json.encode(data)) for kind, data in events
        )

    def _sample(self, sample: Any) -> Iterator[tuple[str, Any]]:
        at, pools = sample["at"], sample["pools"]
        fresh = {
            "budget/numbers": self._render("budget_numbers", sample["connections"]),
            "budget/shares": self._render("budget_shares", sample["connections"], pools),
            "not_counted": self._render("not_counted", sample.get("not_counted", [])),
        }
        for pool in pools:
            trail = self._trails.get(pool["name"])
            if trail is not None and trail.add(at, _read(pool)):
                self._announcer.note(pool["name"], pool["clients_waiting"])
                due = CHARTS if trail.is_due(at) else ()
                view = view_of(pool, trail, trail.last, at if due else None)
                fresh |= {f"{pool['name']}/{name}": self._render(name, view) for name in (*NUMBERS, *due)}
        changed = self._changed(fresh)
        if changed:
            yield "parts", changed
        announcement = self._announcer.next(at)
        if announcement:
            yield "announcement", announcement
        if self._tells_of_all_pools(at) and pools and shown(pools) != self._pools:
            self._pools = shown(pools)
            yield "pools", self._pools

    def _tells_of_all_pools(self, at: float) -> bool:
        """Whether a sample lists the current pools: a new pool is in none until it was looked at twice."""
        sampled = all(trail.last is not None for trail in self._trails.values())
        return at >= self._since and (sampled or at >= self._since + FIRST_SAMPLE)

    def _advice(self, advice: list[Any]) -> Iterator[tuple[str, Any]]:
        fresh = {
            f"{name}/advice": self._advised([one for one in advice if one.get("pool", "") == name], name)
            for name in ("", *self._trails)
        }
        changed = self._changed(fresh)
        if changed:
            yield "parts", changed

    def _changed(self, fresh: dict[str, str]) -> dict[str, str]:
        changed = {name: html for name, html in fresh.items() if self._sent.get(name) != html}
        self._sent |= changed
        return changed


class Announcer:
    """Announces that clients of a pool have begun to wait, and that none waits any more; not too often."""

    def __init__(self) -> None:
        self._calm: dict[str, int] = {}  # samples without a waiting client, of pools that were announced
        self._pending: dict[str, str] = {}
        self._last = 0.0

    def note(self, pool: str, waiting: int) -> None:
        if waiting:
            if pool not in self._calm:
                clients = "1 client is waiting" if waiting == 1 else f"{waiting} clients are waiting"
                self._pending[pool] = f"Pool {pool}: {clients}."
            self._calm[pool] = 0
        elif pool in self._calm:
            self._calm[pool] += 1
            if self._calm[pool] >= CALM_SAMPLES:
                del self._calm[pool]
                self._pending[pool] = f"Pool {pool}: no clients are waiting."

    def next(self, at: float) -> str:
        if not self._pending or at - self._last < ANNOUNCE_EVERY:
            return ""
        text, self._pending, self._last = " ".join(self._pending.values()), {}, at
        return text


def view_of(pool: Any, trail: PoolTrail, now: PoolSample | None, at: float | None) -> dict[str, Any]:
    """Return what the macros show of a pool: ``now``, if it is known, and the charts as of a time, if any."""
    return {
        "name": pool["name"],
        "size": pool["size"],
        "now": now,
        "rate": None if trail.last is None else trail.last.rate,
        "charts": None if at is None else trail.charts(pool["size"], at),
        "summary": trail.summary(),
    }


def _read(pool: Any) -> PoolSample:
    return PoolSample(
        size=pool["size"] * pool["poolers"],
        active=pool["clients_active"],
        waiting=pool["clients_waiting"],
        busy=pool["servers_active"],
        wait=pool["longest_wait_seconds"],
        rate=pool["transactions_per_second"],
    )
