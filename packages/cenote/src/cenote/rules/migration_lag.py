"""For how long what a source has written is not here yet, by where its WAL was at which time.  Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

_MOST = 3600  # samples of a slot; then every second one goes


@dataclass(frozen=True, slots=True)
class SlotPosition:
    """Where the WAL of a source ends, and up to where a slot has passed it on; None if that is not known."""

    written: int
    confirmed: int | None

    @property
    def behind(self) -> int | None:
        return None if self.confirmed is None else max(0, self.written - self.confirmed)


@dataclass(slots=True)
class LagClock:
    """The samples of one slot, with times in seconds of a clock.

    A source that is not reached has no new samples, and what is known to be here gets older.
    """

    _samples: deque[tuple[float, int]] = field(default_factory=deque)
    _had_all: float | None = None  # when it had last all that there was by then

    def take(self, position: SlotPosition, now: float) -> None:
        if self._had_all is None:
            self._had_all = now
        self._samples.append((now, position.written))
        if len(self._samples) > _MOST:
            self._samples = deque(list(self._samples)[::2])
        confirmed = position.confirmed
        while confirmed is not None and self._samples and self._samples[0][1] <= confirmed:
            self._had_all, _ = self._samples.popleft()

    def seconds(self, now: float) -> float | None:
        """Return the lag; None before the first sample."""
        return None if self._had_all is None else max(0.0, now - self._had_all)
