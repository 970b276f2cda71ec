"""``cenote pool top``: a live view of the pools of a cluster.

``render`` is pure: it turns two API responses and the time between them into lines.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from cenote.cli.printer import CommandError

HEADINGS = ("POOL", "CLIENTS", "WAITING", "SERVERS", "SIZE", "TX/S", "QUERIES/S", "QUERY", "WAIT", "LONGEST")
_CLEAR, _HOME, _REST = "\033[2J", "\033[H", "\033[J"
_ALTERNATE, _NORMAL = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"

Stats = Mapping[str, Any]


def render(
    name: str,
    before: Sequence[Stats],
    now: Sequence[Stats],
    seconds: float,
    not_counted: Sequence[str] = (),
) -> list[str]:
    """Return the lines of one frame; rates are per second, over the ``seconds`` since ``before``.

    All numbers are over the poolers of all hosts; those that did not answer are ``not_counted``.
    """
    earlier = {stats["name"]: stats for stats in before}
    rows = [_row(earlier.get(stats["name"], stats), stats, seconds) for stats in now]
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    return [
        f"{name}: {_budget(now)}",
        "",
        *(
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
            for row in (HEADINGS, *rows)
        ),
        *(f"not counted: {words}" for words in not_counted),
    ]


def watch(fetch: Any, name: str, every: float) -> None:
    """Show frames until Ctrl-C; ``fetch`` returns the API's answer with the statistics of all pools."""
    if not sys.stdout.isatty():
        raise CommandError("pool top needs a terminal; use 'cenote pool stats' in scripts")
    click.echo(_ALTERNATE + _CLEAR, nl=False)
    try:
        before, then = fetch(), time.monotonic()
        while True:
            now, at = fetch(), time.monotonic()
            # The totals of a pooler that comes and goes would look like queries.
            comparable = [one["poolers"] for one in before["stats"]] == [
                one["poolers"] for one in now["stats"]
            ]
            earlier = before["stats"] if comparable else []
            _draw(render(name, earlier, now["stats"], at - then, now.get("not_counted", ())))
            before, then = now, at
            time.sleep(every)
    except KeyboardInterrupt:
        return
    finally:
        click.echo(_NORMAL, nl=False)


def _draw(lines: list[str]) -> None:
    width, height = shutil.get_terminal_size()
    shown = [line[:width] for line in lines[: height - 2]]
    foot = "Ctrl-C to quit"[:width]
    click.echo(_HOME + "\033[K\r\n".join([*shown, "", foot]) + "\033[K" + _REST, nl=False)


def _row(before: Stats, now: Stats, seconds: float) -> tuple[str, ...]:
    done, was = now["since_start"], before["since_start"]

    def rate(counter: str) -> str:
        # Counters restart at zero when PgBouncer does.
        return f"{max(0, done[counter] - was[counter]) / seconds:.0f}" if seconds > 0 else "0"

    clients, servers = now["clients"], now["servers"]
    return (
        now["name"],
        str(clients["active"]),
        str(clients["waiting"]),
        str(servers["active"]),
        str(now["size"]) if now["poolers"] == 1 else f"{now['poolers']} × {now['size']}",
        rate("transactions"),
        rate("queries"),
        _time(now["average_seconds"]["query"]),
        _time(now["average_seconds"]["wait"]),
        _time(now["longest_wait_seconds"]),
    )


def _budget(now: Sequence[Stats]) -> str:
    if not now:
        return "no pools"
    budget = now[0]["cluster"]
    used, total, left = budget["allocated"], budget["connections"], budget["left"]
    return f"{used} of {total} connections allocated to pools, {left} available"


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.1f} ms" if seconds else "0"
