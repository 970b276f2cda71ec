"""Messages in the logs of a cluster's servers."""

from __future__ import annotations

from typing import Literal, TypedDict

LogSource = Literal["postgres", "pgbouncer"]


class LogMessage(TypedDict):
    """``text`` may have several lines; the rest is None where the log does not tell it."""

    at: str | None
    severity: Literal["debug", "info", "log", "notice", "warning", "error", "fatal", "panic"]
    process: int | None
    text: str


class Logs(TypedDict):
    source: LogSource
    messages: list[LogMessage]
    next: str


class LogsResponse(TypedDict):
    logs: Logs
