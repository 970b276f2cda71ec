"""Times on pages: how long ago or in how long, with the exact time in UTC on hover.  Pure.

``console.js`` keeps the words current by the same rule.
"""

from __future__ import annotations

from datetime import UTC, datetime

from markupsafe import Markup

JUST_NOW = 10  # seconds, up to which a time is now
_UNITS = (
    ("year", 365 * 24 * 3600),
    ("month", 30 * 24 * 3600),
    ("day", 24 * 3600),
    ("hour", 3600),
    ("minute", 60),
    ("second", 1),
)


def relative(seconds: float) -> str:
    """Return how long ago a time is, such as ``5 minutes ago``; negative seconds are in the future."""
    whole = int(abs(seconds))
    if whole < JUST_NOW:
        return "just now"
    unit, length = next((unit, length) for unit, length in _UNITS if whole >= length)
    count = whole // length
    words = f"{count} {unit}" + ("s" if count > 1 else "")
    return f"{words} ago" if seconds > 0 else f"in {words}"


def when(text: str) -> Markup:
    """Return a timestamp of the API as an element that shows how long ago it is."""
    age = (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()
    element = Markup('<time class="ago nowrap" datetime="{}" title="{} UTC">{}</time>')
    return element.format(text, clock(text), relative(age))


def utc(at: float) -> str:
    """Return a Unix time in a readable form."""
    return datetime.fromtimestamp(at, UTC).strftime("%-d %b, %H:%M UTC")


def moment(text: str) -> str:
    """Return a timestamp of the API in a readable form, in UTC."""
    return datetime.fromisoformat(text).strftime("%-d %b %Y, %H:%M")


def clock(text: str) -> str:
    """Return a timestamp like ``moment``, with seconds."""
    return datetime.fromisoformat(text).strftime("%-d %b %Y, %H:%M:%S")
