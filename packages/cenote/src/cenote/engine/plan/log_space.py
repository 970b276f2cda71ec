"""Disk space of the logs: the part that neither readers nor log sinks need any more is given back.

A server holds its log open, so a log only ever grows, and its beginning is punched out as a hole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cenote.engine.plan.context import NodeContext
from cenote.logs.positions import LogExtent, Positions
from cenote.model.changes import Plan, ShortenLog
from cenote.model.records import LogSource

KEPT = 16 * 2**20  # bytes of a log that stay for people to read
BACKLOG = 256 * 2**20  # bytes of a log that are kept for sinks that have not got them yet
STEP = 4 * 2**20  # bytes; less is not worth a hole
BLOCK = 4096  # a hole frees whole blocks


@dataclass(frozen=True, slots=True)
class Seen:
    """The extent of each log that there is, and how far each sink has got."""

    logs: Mapping[LogSource, LogExtent]
    sinks: tuple[Positions, ...]


def plan(context: NodeContext, seen: Seen) -> Plan:
    for source, log in seen.logs.items():
        change = shortened(context.paths.log(source), log, _unshipped(source, log, seen.sinks))
        if change is not None:
            yield change


def shortened(path: Path, log: LogExtent, unshipped: int | None) -> ShortenLog | None:
    """Return the change that shortens a log; None where too little can go to be worth it.

    Sinks still need the bytes from ``unshipped`` on; None without sinks.
    """
    keep_from = log.size - KEPT
    if unshipped is not None:
        keep_from = max(log.size - BACKLOG, min(keep_from, unshipped))
    keep_from -= keep_from % BLOCK
    if keep_from <= 0 or keep_from - log.begin < STEP:
        return None
    # Without holes the whole log goes at once, so what is still needed has to be little enough.
    may_empty = unshipped is None or unshipped >= log.size or log.size > BACKLOG
    return ShortenLog(path, keep_from, KEPT if may_empty else None)


def _unshipped(source: LogSource, log: LogExtent, sinks: tuple[Positions, ...]) -> int | None:
    """Return the first byte that a sink has not been sent; None without sinks."""
    positions = [sink.at(source) for sink in sinks]
    return min((position.at if position.file == log.file else 0 for position in positions), default=None)
