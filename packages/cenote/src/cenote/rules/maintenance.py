"""Maintenance windows: when work may begin that clients of a cluster could notice."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from cenote.errors import Invalid
from cenote.model.records import MaintenanceWindow

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
LENGTH = timedelta(hours=4)

_HOUR = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])(?::[0-5][0-9])?", re.ASCII)


def window(day: str, hour: str) -> MaintenanceWindow:
    """Return the window that begins then, in UTC; the API shows the hour as it was sent."""
    if day.lower() not in DAYS:
        raise Invalid(f"day: {day[:80]!a} is not a day; days are {', '.join(DAYS)}.")
    if not _HOUR.fullmatch(hour):
        raise Invalid(f"hour: {hour[:80]!a} is not a time, such as '13:00' or '13:00:00'.")
    return MaintenanceWindow(day=day.lower(), hour=hour)


def is_open(window: MaintenanceWindow, now: datetime) -> bool:
    """Return whether the window is open at this time in UTC."""
    hour, minute = (int(part) for part in window.hour.split(":")[:2])
    days = (now.weekday() - DAYS.index(window.day)) % 7
    today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    # Last week's window counts as well: it may reach into the next day.
    begins = today - timedelta(days=days)
    return any(begin <= now < begin + LENGTH for begin in (begins, begins - timedelta(days=7)))
