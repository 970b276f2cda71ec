"""The key ring ``host`` of an agent, whose keys the API hands over when it rotates them.

The agent opens with it and seals nothing.  Which keys it has stands in its host's record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime

from cenote.errors import Invalid
from cenote.security import sealing_keys
from cenote.security.sealing import Sealer

MAX_KEYS = 32


class HostRing:
    def __init__(self, sealer: Sealer) -> None:
        self.sealer = sealer
        self.changed = asyncio.Event()  # whoever reports the keys clears it
        self._lock = asyncio.Lock()

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(key.id for key in self.sealer.keys)

    async def add(self, line: str) -> None:
        """Add the key of a line of the file, unless it is there; it is on disk then."""
        try:
            key = sealing_keys.key_in(line, datetime.now(UTC))
        except ValueError:
            raise Invalid("This is not a key.") from None
        async with self._lock:
            if key.id not in self.ids:
                if len(self.ids) >= MAX_KEYS:
                    raise Invalid("The agent has too many keys.")
                await asyncio.to_thread(self.sealer.add_key, key)
        self.changed.set()

    async def keep(self, ids: Collection[str]) -> None:
        """Remove all other keys."""
        async with self._lock:
            if not set(ids).issuperset(self.ids[-1:]):
                raise Invalid("The agent does not remove its newest key.")
            await asyncio.to_thread(self.sealer.remove_keys, set(self.ids) - set(ids))
        self.changed.set()
