"""The newest messages in the logs of a cluster's servers, an extension of Cenote.

Logs may contain statements that set a password, so they require the scope for viewing credentials.
"""

from __future__ import annotations

from datetime import datetime
from http import HTTPMethod

import msgspec

from cenote.api import silence
from cenote.api.auth import READ, VIEW_CREDENTIALS
from cenote.api.call import Call
from cenote.api.operation import answer, operation
from cenote.errors import Invalid
from cenote.http.routing import Response
from cenote.logs.filters import MAX_SEARCH, LogFilter
from cenote.logs.messages import Message, Severity
from cenote.model.records import Cluster, LogSource, Node

PATH = "/v2/databases/{database_cluster_uuid}/logs"
LINES, MAX_LINES = 100, 1_000


class MessageView(msgspec.Struct):
    """``text`` may have several lines; ``at`` and ``process`` are null if the log does not have them."""

    at: datetime | None
    severity: Severity
    process: int | None
    text: str


class LogsView(msgspec.Struct):
    """Messages of a node, oldest first.  Pass ``next`` as ``after`` to get only newer ones.

    ``host`` is the name of the node's host.
    """

    source: LogSource
    messages: list[MessageView]
    next: str
    node: str
    host: str


class LogsAnswer(msgspec.Struct):
    logs: LogsView


@operation(
    HTTPMethod.GET,
    PATH,
    scope=READ,
    and_scope=VIEW_CREDENTIALS,
    answer=LogsAnswer,
    query=("source", "lines", "after", "search", "severity", "node"),
    also=(503,),
)
async def read_logs(request: Call) -> Response:
    """Get the newest log messages of a server of a cluster, by default of the one that takes writes.

    ``node`` is the name of another node; nodes that share a host share a pooler, and so its log. ``search``
    selects those with this text, in any case, and ``severity`` those that are at least so bad; they are
    looked for in the last 8 MiB of the log.
    """
    cluster = request.cluster().value
    source = _source(request.query_params.get("source", LogSource.POSTGRES))
    count = _lines(request.query_params.get("lines", str(LINES)))
    after = request.query_params.get("after", "")
    wanted = _filter(request)
    node = _node(request, cluster)
    page = await request.service.observer.logs(cluster.id, node.name, source, count, after, wanted)
    host = silence.name_of(request.service.store, node.host)
    # An agent of an older version returns all messages.
    views = [_view(message) for message in wanted.select(page.messages)]
    return answer(LogsAnswer(LogsView(source, views, page.cursor, node.name, host)))


def _view(message: Message) -> MessageView:
    return MessageView(message.at, message.severity, message.process, message.text)


def _source(text: str) -> LogSource:
    try:
        return LogSource(text)
    except ValueError:
        raise Invalid(f"source: {text[:40]!a} is not one of {', '.join(LogSource)}.") from None


def _node(request: Call, cluster: Cluster) -> Node:
    nodes = request.service.shown_nodes(cluster)
    name = request.query_params.get("node", nodes[0].name)
    for node in nodes:
        if node.name == name:
            return node
    raise Invalid(f"node: {name[:40]!a} is not one of {', '.join(sorted(node.name for node in nodes))}.")


def _filter(request: Call) -> LogFilter:
    search, text = request.query_params.get("search", ""), request.query_params.get("severity", "")
    if len(search) > MAX_SEARCH:
        raise Invalid(f"search: it is longer than {MAX_SEARCH} characters.")
    try:
        return LogFilter(search, Severity(text or Severity.DEBUG))
    except ValueError:
        raise Invalid(f"severity: {text[:40]!a} is not one of {', '.join(Severity)}.") from None


def _lines(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_LINES):
        raise Invalid(f"lines: {text[:40]!a} is not a number from 1 to {MAX_LINES}.")
    return int(text)


ROUTES = (read_logs,)
