"""The keys of a ring, and the text of the file that holds them: a key on each line, the newest last.

A key that waits opens and does not seal yet: not all hosts have it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

KEY_BYTES = 32
_WAITS = "waits"


@dataclass(frozen=True)
class SealingKey:
    """A key of a ring.  ``made_at`` of a file that does not say so is when the file was written."""

    secret: bytes = field(repr=False)
    made_at: datetime
    waits: bool = False

    @property
    def id(self) -> str:
        return hashlib.sha256(self.secret).hexdigest()[:8]

    @property
    def line(self) -> str:
        waits = f" {_WAITS}" if self.waits else ""
        return f"{self.secret.hex()} {self.made_at.isoformat()}{waits}\n"


def new_key(others: Iterable[SealingKey] = ()) -> SealingKey:
    """Return a new key, made after all others, whatever the clock says: the newest seals."""
    now = datetime.now(UTC).replace(microsecond=0)
    latest = max((other.made_at + timedelta(seconds=1) for other in others), default=now)
    return SealingKey(os.urandom(KEY_BYTES), max(now, latest))


def merged(*rings: Iterable[SealingKey]) -> tuple[SealingKey, ...]:
    """Return the keys of several rings as one, each once, those that wait first and the newest last."""
    keys = sorted((key for ring in rings for key in ring), key=lambda key: not key.waits)
    by_id = {key.id: key for key in keys}
    return tuple(sorted(by_id.values(), key=lambda key: (not key.waits, key.made_at)))


def waiting(key: SealingKey) -> SealingKey:
    """Return a key that opens and does not seal."""
    return replace(key, waits=True)


def latest(keys: Iterable[SealingKey]) -> SealingKey:
    """Return the key that was made last, whether it waits or not, as one that seals."""
    return replace(max(keys, key=lambda key: key.made_at), waits=False)


def text(keys: Iterable[SealingKey]) -> str:
    return "".join(key.line for key in keys)


def keys_in(content: str, written_at: datetime) -> tuple[SealingKey, ...]:
    """Read a file: a key a line, or one key alone, which may be wrapped.  ValueError if it is neither."""
    try:
        return (key_in("".join(content.split()), written_at),)
    except ValueError:
        return tuple(key_in(line, written_at) for line in content.splitlines() if line.strip())


def key_in(line: str, written_at: datetime) -> SealingKey:
    """Read a line of the file; before there were several keys, it had the key only."""
    secret_text, _, rest = line.strip().partition(" ")
    made_at, _, state = rest.partition(" ")
    secret = bytes.fromhex(secret_text)
    if len(secret) != KEY_BYTES:
        raise ValueError("not a key")
    made = datetime.fromisoformat(made_at) if made_at else written_at
    return SealingKey(secret, made if made.tzinfo is not None else made.replace(tzinfo=UTC), state == _WAITS)
