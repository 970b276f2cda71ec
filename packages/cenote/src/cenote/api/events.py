"""The events of a cluster, and the audit log of the service."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from http import HTTPMethod
from uuid import UUID

import msgspec

from cenote.api import paging
from cenote.api.auth import ADMIN, READ
from cenote.api.call import Call
from cenote.api.operation import answer, operation
from cenote.api.service import Service
from cenote.errors import Invalid
from cenote.http.routing import Response
from cenote.model.event_records import Event, EventType
from cenote.rules import differences, outcomes
from cenote.rules.outcomes import Outcome, OutcomeName

PATH = "/v2/databases/{database_cluster_uuid}/events"
AUDIT = "/v2/cenote/audit"


class AuditTokenView(msgspec.Struct):
    """The token of a request; it may have been revoked since."""

    id: UUID
    name: str


class ChangeView(msgspec.Struct):
    """One thing that was changed, from what to what; ``text`` says both.

    ``before`` is null for what was added, ``after`` for what was removed, and both for what is not told, such
    as a password.
    """

    what: str
    before: str | None
    after: str | None
    text: str


class EventDetailsView(msgspec.Struct):
    """An extension of Cenote: what was changed, by which token, from where, and with what outcome.

    ``summary`` is all ``changes`` in one line, or the request of an event that an earlier version wrote;
    ``more`` counts changes that are left out.  ``outcome`` is ``done``, or ``pending`` with a ``reason``
    while the change is not in force.  What the service did by itself has no token and no address.
    """

    summary: str
    changes: list[ChangeView]
    more: int
    token: AuditTokenView | None
    address: str | None
    request_id: str | None
    outcome: OutcomeName | None
    reason: str | None


class EventView(msgspec.Struct):
    """A change to a cluster."""

    id: str
    cluster_name: str
    event_type: EventType
    create_time: datetime
    cenote: EventDetailsView


class EventsAnswer(msgspec.Struct):
    events: list[EventView]
    links: paging.Links
    meta: paging.Meta


class EntryView(msgspec.Struct):
    """A change or a rejected request: its time, operation, token, address and outcome.

    ``summary``, ``changes``, ``more``, ``outcome`` and ``reason`` are as in the events of a cluster; the
    outcome of a rejected request is ``refused``, of a change of a cluster that is gone null.  ``refused`` is
    the status code of a rejected request, null for a change; ``count`` is the number of such requests
    since the previous entry.  A rejected request without a token was not authenticated.  A change made by
    the service itself has a description instead of an operation, and no token.
    """

    id: str
    at: datetime
    what: str
    summary: str
    changes: list[ChangeView]
    more: int
    token: AuditTokenView | None
    address: str | None
    request_id: str | None
    outcome: OutcomeName | None
    reason: str | None
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
    page, links, meta = paging.page_of(request, await request.service.store.events(cluster.id))
    return answer(EventsAnswer([_event(request.service, event) for event in page], links, meta))


@operation(
    HTTPMethod.GET,
    AUDIT,
    scope=ADMIN,
    answer=AuditAnswer,
    paged=True,
    query=("cluster_uuid", "token", "search"),
)
async def list_audit(request: Call) -> Response:
    """List changes and rejected requests, newest first.

    ``cluster_uuid`` selects those of one cluster, which may have been deleted; ``token`` those of a token, by
    its name or id; ``search`` those with this text in their request, changes, address or cluster's name.  The
    last two look at the newest 5,000 entries.
    """
    of_cluster = _cluster_asked_for(request)
    wanted = paging.requested(request)
    events, total = await request.service.store.audit(of_cluster, wanted.end, _selection(request))
    links, meta = paging.links_of(request, wanted, total)
    entries = [_entry(request.service, event) for event in events[wanted.begin :]]
    return answer(AuditAnswer(entries, links, meta))


def _cluster_asked_for(request: Call) -> UUID | None:
    text = request.query_params.get("cluster_uuid")
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise Invalid(f"cluster_uuid: {text[:40]!a} is not a UUID.") from None


def _selection(request: Call) -> Callable[[Event], bool] | None:
    """Return the filter that a request asks for."""
    token = request.query_params.get("token", "")
    text = request.query_params.get("search", "").casefold()
    if not token and not text:
        return None

    def selects(event: Event) -> bool:
        note = event.note
        if token and token not in (note.token_name, str(note.token_id)):
            return False
        told = (note.what, differences.summary(event), note.address, event.cluster_name)
        return any(text in one.casefold() for one in told)

    return selects


def _event(service: Service, event: Event) -> EventView:
    # Clients know no type for what has none here, such as a pooler that was started again.
    type = event.note.type or EventType.CLUSTER_UPDATE
    return EventView(event.id, event.cluster_name, type, event.at, _details(service, event))


def _details(service: Service, event: Event) -> EventDetailsView:
    note, outcome = event.note, _outcome(service, event)
    return EventDetailsView(
        summary=differences.summary(event),
        changes=[
            ChangeView(one.what, one.before, one.after, differences.in_words(one)) for one in event.changes
        ],
        more=event.more,
        token=None if note.token_id is None else AuditTokenView(note.token_id, note.token_name),
        address=note.address or None,
        request_id=note.request_id or None,
        outcome=None if outcome is None else outcome.name,
        reason=(outcome.reason or None) if outcome is not None else None,
    )


def _outcome(service: Service, event: Event) -> Outcome | None:
    stored = None if event.cluster_id is None else service.store.cluster(event.cluster_id)
    if stored is None:
        return outcomes.of_event(event, None, None)
    return outcomes.of_event(event, stored.value, service.report(stored.value))


def _entry(service: Service, event: Event) -> EntryView:
    details = msgspec.structs.asdict(_details(service, event))
    return EntryView(
        id=event.id,
        at=event.at,
        what=event.note.what,
        cluster_uuid=event.cluster_id,
        cluster_name=event.cluster_name or None,
        event_type=event.note.type,
        refused=event.note.refused or None,
        count=event.note.count,
        **details,
    )


ROUTES = (list_events, list_audit)
