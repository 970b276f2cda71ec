"""Which refused calls are remembered: those that would have changed something, and who is not let in.

A read that finds nothing, or finds its limit spent, is not.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cenote.api.auth import Caller
from cenote.api.service import Service, what_of
from cenote.errors import NotFound
from cenote.http.routing import Scope
from cenote.model.records import Note
from cenote.stats.rejected_requests import RejectedRequest

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_NOT_LET_IN = frozenset({401, 403})


def remember(service: Service, scope: Scope, request_id: str, status: int) -> None:
    """Note that a call was answered with this code, if that is to be remembered."""
    method = scope["method"]
    if method in _READS and status not in _NOT_LET_IN:
        return
    caller: Caller | None = scope.get("auth")
    client = scope.get("client")
    template: Any = scope.get("path_template") or scope["path"]
    cluster_id, cluster_name = None, ""
    parts = scope["path"].split("/")
    if caller is not None and parts[1:3] == ["v2", "databases"] and len(parts) > 3:
        try:
            cluster = service.cluster(parts[3]).value
        except NotFound:
            pass
        else:
            cluster_id, cluster_name = cluster.id, cluster.name
    note = Note(
        what=what_of(method, scope["path"]),
        request_id=request_id,
        address=client[0] if client is not None else "",
        token_id=None if caller is None else caller.token.id,
        token_name="" if caller is None else caller.token.name,
        refused=status,
    )
    service.store.refusals.add(
        RejectedRequest(
            at=datetime.now(UTC),
            operation=what_of(method, str(template)),
            note=note,
            cluster_id=cluster_id,
            cluster_name=cluster_name,
        )
    )
