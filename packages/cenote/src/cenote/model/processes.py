"""A server process, as it is told from every other one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Process:
    """A living process; ``started`` (clock ticks since boot) tells it from a later one with the same pid."""

    pid: int
    started: int
