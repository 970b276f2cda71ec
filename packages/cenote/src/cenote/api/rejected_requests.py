"""Recording of rejected requests in the audit log: attempted changes, and all with status 401 or 403.

Other rejected reads are not recorded, such as those that find nothing or exceed a rate limit.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cenote.api.auth import Caller
from cenote.api.call import request_line
from cenote.api.service import Service
from cenote.errors import NotFound
from cenote.http.routing import Scope
from cenote.model.event_records import Note
from cenote.stats.rejected_requests import RejectedRequest
from cenote.store.encoding import NewerFormat

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_UNAUTHORIZED = frozenset({401, 403})


def record(service: Service, scope: Scope, request_id: str, status: int) -> None:
    """Record a request that was rejected with this status, unless it is exempt."""
    method = scope["method"]
    if method in _READS and status not in _UNAUTHORIZED:
        return
    caller: Caller | None = scope.get("auth")
    client = scope.get("client")
    template: Any = scope.get("path_template") or scope["path"]
    cluster_id, cluster_name = None, ""
    parts = scope["path"].split("/")
    if caller is not None and parts[1:3] == ["v2", "databases"] and len(parts) > 3:
        try:
            cluster = service.cluster(parts[3]).value
        except (NotFound, NewerFormat):
            pass
        else:
            cluster_id, cluster_name = cluster.id, cluster.name
    note = Note(
        what=request_line(method, scope["path"]),
        request_id=request_id,
        address=client[0] if client is not None else "",
        token_id=None if caller is None else caller.token.id,
        token_name="" if caller is None else caller.token.name,
        refused=status,
    )
    service.store.refusals.add(
        RejectedRequest(
            at=datetime.now(UTC),
            operation=request_line(method, str(template)),
            note=note,
            cluster_id=cluster_id,
            cluster_name=cluster_name,
        )
    )
