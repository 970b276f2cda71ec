"""The events of a cluster, and the audit log of the service."""

from __future__ import annotations

from datetime import datetime
from http import HTTPMethod
from uuid import UUID

import msgspec

from cenote.api import paging
from cenote.api.auth import ADMIN, READ
from cenote.api.service import Call, answer, operation
from cenote.errors import Invalid
from cenote.http.routing import Response
from cenote.model.records import Event, EventType

PATH = "/v2/databases/{database_cluster_uuid}/events"
AUDIT = "/v2/cenote/audit"


class EventView(msgspec.Struct):
    """A change to a cluster."""

    id: str
    cluster_name: str
    event_type: EventType
    create_time: datetime


class EventsAnswer(msgspec.Struct):
    events: list[EventView]
    links: paging.Links
    meta: paging.Meta


class AuditTokenView(msgspec.Struct):
    """The token of a request; it may have been revoked since."""

    id: UUID
    name: str


class EntryView(msgspec.Struct):
    """A change or a rejected request: its time, operation, token and address.

    ``refused`` is the status code of a rejected request, null for a change; ``count`` is the number of such
    requests since the previous entry.  A rejected request without a token was not authenticated.  A change
    made by the service itself has a description instead of an operation, and no token.
    """

    id: str
    at: datetime
    what: str
    token: AuditTokenView | None
    address: str | None
    request_id: str | None
    cluster_uuid: UUID | None
    cluster_name: str | None
    event_type: EventType | None
    refused: int | None
    count: int


class AuditAnswer(msgspec.Struct):
    entries: list[EntryView]
    links: paging.Links
    meta: paging.Meta


@operation(HTTPMethod.GET, PATH, scope=READ, answer=EventsAnswer, paged=True)
async def list_events(request: Call) -> Response:
    """List the events of a cluster, newest first."""
    cluster = request.cluster().value
    found = [
        EventView(event.id, event.cluster_name, event.note.type, event.at)
        for event in await request.service.store.events(cluster.id)
        if event.note.type is not None
    ]
    page, links, meta = paging.page_of(request, found)
    return answer(EventsAnswer(list(page), links, meta))


@operation(HTTPMethod.GET, AUDIT, scope=ADMIN, answer=AuditAnswer, paged=True, query=("cluster_uuid",))
async def list_audit(request: Call) -> Response:
    """List changes and rejected requests, newest first.

    ``cluster_uuid`` selects those of one cluster, which may have been deleted.
    """
    of_cluster = _cluster_asked_for(request)
    wanted = paging.requested(request)
    events, total = await request.service.store.audit(of_cluster, wanted.end)
    links, meta = paging.links_of(request, wanted, total)
    return answer(AuditAnswer([_entry(event) for event in events[wanted.begin :]], links, meta))


def _cluster_asked_for(request: Call) -> UUID | None:
    text = request.query_params.get("cluster_uuid")
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise Invalid(f"cluster_uuid: {text[:40]!a} is not a UUID.") from None


def _entry(event: Event) -> EntryView:
    note = event.note
    return EntryView(
        id=event.id,
        at=event.at,
        what=note.what,
        token=None if note.token_id is None else AuditTokenView(note.token_id, note.token_name),
        address=note.address or None,
        request_id=note.request_id or None,
        cluster_uuid=event.cluster_id,
        cluster_name=event.cluster_name or None,
        event_type=note.type,
        refused=note.refused or None,
        count=note.count,
    )


ROUTES = (list_events, list_audit)
