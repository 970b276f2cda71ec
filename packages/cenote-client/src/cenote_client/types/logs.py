"""Server logs of a cluster, and the log sinks that they are forwarded to."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from .cenote import LogsinkAdditions, PendingChange

LogSource = Literal["postgres", "pgbouncer"]
LogSeverity = Literal["debug", "info", "log", "notice", "warning", "error", "fatal", "panic"]


class LogMessage(TypedDict):
    """``text`` may have several lines; other fields are None if the log does not contain them."""

    at: str | None
    severity: LogSeverity
    process: int | None
    text: str


class Logs(TypedDict):
    """Messages of a node; ``host`` is the name of the node's host."""

    source: LogSource
    messages: list[LogMessage]
    next: str
    node: str
    host: str


class LogsResponse(TypedDict):
    logs: Logs


class RsyslogConfig(TypedDict):
    """A syslog server; ``logline`` is for the format ``custom``, ``sd`` structured data, ``ca``, ``key`` and
    ``cert`` are PEM.
    """

    server: str
    port: int
    tls: bool
    format: Literal["rfc5424", "rfc3164", "custom"]
    logline: NotRequired[str]
    sd: NotRequired[str]
    ca: NotRequired[str]
    key: NotRequired[str]
    cert: NotRequired[str]


class ElasticsearchConfig(TypedDict):
    """An Elasticsearch or OpenSearch server; ``timeout`` in seconds."""

    url: str
    index_prefix: str
    index_days_max: NotRequired[int]
    timeout: NotRequired[float]
    ca: NotRequired[str]


class DatadogConfig(TypedDict):
    site: str
    datadog_api_key: str


LogsinkConfig = RsyslogConfig | ElasticsearchConfig | DatadogConfig
SinkType = Literal["rsyslog", "elasticsearch", "opensearch", "datadog"]


class Logsink(TypedDict):
    sink_id: str
    sink_name: str
    sink_type: SinkType
    config: LogsinkConfig
    cenote: NotRequired[LogsinkAdditions]


class LogsinkResponse(TypedDict):
    sink: Logsink
    cenote: NotRequired[PendingChange]


class LogsinkListResponse(TypedDict):
    sinks: list[Logsink]


class LogsinkCreate(TypedDict):
    sink_name: str
    sink_type: SinkType
    config: LogsinkConfig


class LogsinkUpdate(TypedDict):
    config: LogsinkConfig
