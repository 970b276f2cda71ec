"""Rate limits of tokens: requests per hour, and a burst limit per minute.

The windows slide: a request counts for an hour, or a minute, by monotonic time; the clock is only shown.
Rejected requests do not count.

A request above the limit gets a slot, the time at which there is room for it.  If that is within
``HOLD_SECONDS``, the request is held until then.  If not, it is rejected with ``Retry-After``, and the slots
of rejected requests are spread, so that clients that wait do not all come back in the same second.  The slot
is kept for the client: it is found again by the ``key`` of its request, and expires soon after its time.

The hour is counted in buckets of one second.  Those of a token that is used all the time are merged, so that
a request may count a sixtieth of the window longer; a token that is not used takes no memory.
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import msgspec

from cenote.errors import TooManyRequests

HOUR = 3600
MINUTE = 60
HOLD_SECONDS = 2.0  # the longest that a request waits for its slot
GRACE_SECONDS = 5.0  # that the slot of a rejected request is kept after its time
SPREAD_SECONDS = 0.25  # between the slots of rejected requests, at most
MOST_HELD = 1000  # requests at a time, of all tokens: each takes some KiB and a connection
_MOST_KEPT = 1000  # slots of rejected requests of one token
_EARLY_SECONDS = 0.05  # that a client's timer may be fast
_MERGE_AT = 150  # buckets; merged ones are 121 at most
_PARTS = 60  # of a window: the span of a bucket that others were merged into


class _Window:
    """A sliding window: the requests of the last ``length`` seconds."""

    __slots__ = ("_buckets", "length", "total")

    def __init__(self, length: int) -> None:
        self.length = length
        self.total = 0
        # [first second, last second, requests], the oldest first
        self._buckets: deque[list[int]] = deque()

    def expire(self, second: int) -> None:
        buckets = self._buckets
        while buckets and buckets[0][1] <= second - self.length:
            self.total -= buckets.popleft()[2]

    def add(self, second: int) -> None:
        if self._buckets and self._buckets[-1][1] >= second:
            self._buckets[-1][2] += 1
        else:
            self._buckets.append([second, second, 1])
            if len(self._buckets) > _MERGE_AT:
                self._merge()
        self.total += 1

    def expiry(self, second: int, count: int = 1) -> int:
        """Return when this many of the oldest requests have expired; without so many, of a new one."""
        for _, last, requests in self._buckets:
            count -= requests
            if count <= 0:
                return last + self.length
        return second + self.length

    def _merge(self) -> None:
        merged: deque[list[int]] = deque()
        for first, last, count in self._buckets:
            if merged and last - merged[-1][0] < self.length // _PARTS:
                merged[-1][1] = last
                merged[-1][2] += count
            else:
                merged.append([first, last, count])
        self._buckets = merged


@dataclass(slots=True, eq=False)
class Slot:
    """The time ``at`` which there is room for a request of a token; given up when it ``expires``."""

    token_id: UUID
    key: bytes
    at: float
    expires: float

    @property
    def is_held(self) -> bool:
        return self.expires == math.inf


class RateLimitStatus(msgspec.Struct, frozen=True):
    """A token's limit after a request; ``reset`` is when the oldest one expires, in seconds of the epoch.

    With a ``slot`` the request is neither admitted nor rejected yet: ``Limits.take`` decides at that time.
    """

    limit: int
    remaining: int
    reset: int
    error: TooManyRequests | None = None
    slot: Slot | None = None

    def headers(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"ratelimit-limit", b"%d" % self.limit),
            (b"ratelimit-remaining", b"%d" % self.remaining),
            (b"ratelimit-reset", b"%d" % self.reset),
        ]


class _Usage:
    """The requests of a token: those of the last hour and minute, and the slots of those to come."""

    __slots__ = ("admitted", "hour", "next_told", "slots")

    def __init__(self) -> None:
        self.hour = _Window(HOUR)
        self.admitted = deque[float]()  # when each request of the burst window was admitted
        self.slots: list[Slot] = []  # by time
        self.next_told = 0.0  # the earliest slot of the next request that is rejected

    def expire(self, now: float, minute: float) -> None:
        self.hour.expire(int(now))
        while self.admitted and self.admitted[0] <= now - minute:
            self.admitted.popleft()
        if self.slots:
            self.slots = [slot for slot in self.slots if slot.expires > now]

    def add_slot(self, slot: Slot) -> None:
        bisect.insort(self.slots, slot, key=lambda one: one.at)

    def claim(self, key: bytes, now: float) -> bool:
        """Take the slot that was kept for a rejected request, if its time has come.

        One that comes earlier is another request with the same key.
        """
        for slot in self.slots:
            if slot.at > now + _EARLY_SECONDS:
                return False
            if slot.key == key and not slot.is_held:
                self.slots.remove(slot)
                return True
        return False

    def held(self) -> list[Slot]:
        return [slot for slot in self.slots if slot.is_held]

    def burst_room(self, limit: int, minute: float, now: float, slots: Sequence[Slot]) -> float:
        """Return when one more request fits into the burst window, after those that have these slots."""
        expiring = len(self.admitted) + len(slots) - limit  # the index of the last one that has to expire
        if expiring < 0:
            return now
        if expiring < len(self.admitted):
            return self.admitted[expiring] + minute
        return max(now, slots[expiring - len(self.admitted)].at) + minute

    def hour_room(self, limit: int, now: float, slots: Sequence[Slot]) -> float:
        """Return when one more request fits into the hour, after those of these slots that are held."""
        missing = self.hour.total + sum(slot.is_held for slot in slots) - limit + 1
        return now if missing <= 0 else self.hour.expiry(int(now), missing)


class Limits:
    """The rate limits of all tokens; 0 means no limit.  ``minute`` is the length of the burst window."""

    def __init__(self, per_hour: int, per_minute: int, minute: float = MINUTE) -> None:
        self._per_hour = per_hour
        self._per_minute = per_minute
        self._minute = minute
        self._tokens: dict[UUID, _Usage] = {}
        self.held = 0

    def __len__(self) -> int:
        """Return how many tokens there are counts of."""
        return len(self._tokens)

    def spend(
        self, token_id: UUID, now: float, clock: float, key: Callable[[], bytes] = bytes
    ) -> RateLimitStatus | None:
        """Count a request unless a limit is reached; None without limits.

        ``now`` is monotonic; ``clock`` is the Unix time, for the time that is shown.  ``key`` returns what a
        request has in common with its repetition; it is called only when there is no room.
        """
        if not self._per_hour and not self._per_minute:
            return None
        usage = self._used(token_id, now)
        self._forget_unused(now)
        claimed = bool(usage.slots) and usage.claim(key(), now)
        room, is_burst = self._room(usage, now, usage.held() if claimed else usage.slots)
        if room <= now:
            return self._admit(usage, now, clock)
        slot = Slot(token_id, key(), now, math.inf)
        return self._postpone(usage, slot, room, now, clock, is_burst=is_burst)

    def take(self, slot: Slot, now: float, clock: float) -> RateLimitStatus:
        """Admit a held request whose time has come; it may have to wait a little longer."""
        usage = self._used(slot.token_id, now)
        self.give_back(slot)
        room, is_burst = self._room(usage, now, before=())
        if room <= now:
            return self._admit(usage, now, clock)
        return self._postpone(usage, slot, room, now, clock, is_burst=is_burst)

    def give_back(self, slot: Slot) -> None:
        """Give up the slot of a held request."""
        self.held -= 1
        self._tokens[slot.token_id].slots.remove(slot)

    def _used(self, token_id: UUID, now: float) -> _Usage:
        """Return the usage of a token, which becomes the last one used."""
        usage = self._tokens.pop(token_id, None) or _Usage()
        self._tokens[token_id] = usage
        usage.expire(now, self._minute)
        return usage

    def _room(self, usage: _Usage, now: float, before: Sequence[Slot]) -> tuple[float, bool]:
        """Return when there is room for a request, after those with the slots ``before``.

        And whether only the burst limit makes it wait for long.
        """
        hour = usage.hour_room(self._per_hour, now, before) if self._per_hour else now
        burst = usage.burst_room(self._per_minute, self._minute, now, before) if self._per_minute else now
        return max(hour, burst), hour - now <= HOLD_SECONDS

    def _admit(self, usage: _Usage, now: float, clock: float) -> RateLimitStatus:
        usage.hour.add(int(now))
        if self._per_minute:
            usage.admitted.append(now)
        return self._status(usage, now, clock)

    def _postpone(
        self, usage: _Usage, slot: Slot, room: float, now: float, clock: float, *, is_burst: bool
    ) -> RateLimitStatus:
        """Hold a request, or reject it."""
        if room - now <= HOLD_SECONDS and self.held < MOST_HELD:
            slot.at, slot.expires = room, math.inf
            usage.add_slot(slot)
            self.held += 1
            return self._status(usage, now, clock, slot=slot)
        if not is_burst:
            return self._status(usage, now, clock, error=TooManyRequests())
        seconds = self._keep_slot(usage, slot, room, now)
        return self._status(usage, now, clock, error=TooManyRequests(seconds))

    def _keep_slot(self, usage: _Usage, slot: Slot, room: float, now: float) -> int:
        """Return in how many seconds a rejected request has a slot, spread over the time with room.

        Half of a window is kept for those that may not come back.  Beyond that, the times are only spread.
        """
        at = max(room, usage.next_told)
        if at > room + self._minute:
            at = room
        usage.next_told = at + min(SPREAD_SECONDS, self._minute / max(1, self._per_minute))
        seconds = max(1, math.ceil(at - now))
        most = min(_MOST_KEPT, max(1, self._per_minute // 2))
        if len(usage.slots) - len(usage.held()) < most:
            slot.at = now + seconds  # when it comes back, since Retry-After has whole seconds
            slot.expires = slot.at + GRACE_SECONDS
            usage.add_slot(slot)
        return seconds

    def _status(
        self,
        usage: _Usage,
        now: float,
        clock: float,
        error: TooManyRequests | None = None,
        slot: Slot | None = None,
    ) -> RateLimitStatus:
        second = int(now)
        if self._per_hour:
            limit, used, left = self._per_hour, usage.hour.total, usage.hour.expiry(second) - second
        else:
            limit, used = self._per_minute, len(usage.admitted)
            oldest = usage.admitted[0] if usage.admitted else now
            left = math.ceil(oldest + self._minute - now)
        return RateLimitStatus(limit, max(0, limit - used), int(clock) + left, error, slot)

    def _forget_unused(self, now: float) -> None:
        """Forget the tokens that were not used for an hour, such as those that were deleted."""
        while True:
            token_id, usage = next(iter(self._tokens.items()))
            usage.expire(now, self._minute)
            if usage.hour.total or usage.slots or len(self._tokens) == 1:
                return
            del self._tokens[token_id]
