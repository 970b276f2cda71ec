"""Pauses of poolers: who holds one, until when, and why.

PgBouncer itself remembers only that it is paused.  The rest stands in a file in the cluster's folder, which
the servers' account cannot change.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "pause.json"  # in the folder of the cluster
AGENT = "agent"  # the owner of pauses for restarts
MOVE = "move"  # and of those for a switch to another node, which is the agent's, too
OURS = frozenset({AGENT, MOVE})
LEASE = 10.0  # seconds that a pause lasts beyond the death of its owner
LONGEST = 120.0  # seconds that an owner may hold one


@dataclass(frozen=True, slots=True)
class Moment:
    """A time since the boot of the machine, which no change of its clock moves."""

    boot: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause, with its times in seconds since the boot named ``boot``.  No pooler outlives a boot.

    ``since`` is 0 if that is not known.
    """

    id: str
    owner: str
    why: str
    boot: str
    until: float
    since: float = 0.0

    def held_for(self, now: Moment) -> float:
        """Return for how many seconds it lasts, 0 if that is not known."""
        return now.seconds - self.since if self.since and self.boot == now.boot else 0.0

    def is_over(self, now: Moment) -> bool:
        # A time further away than any owner sets is of another clock.
        return self.boot != now.boot or not now.seconds < self.until <= now.seconds + LONGEST

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()


def decode(content: bytes | None) -> Pause | None:
    """Return the pause in a file; None for a file that is missing or not one of ours."""
    try:
        found = json.loads(content or b"")
        return Pause(
            id=str(found["id"]),
            owner=str(found["owner"]),
            why=str(found["why"]),
            boot=str(found["boot"]),
            until=float(found["until"]),
            since=float(found.get("since", 0.0)),
        )
    except (ValueError, TypeError, KeyError):
        return None


def file_of(folder: Path) -> Path:
    return folder / FILE
