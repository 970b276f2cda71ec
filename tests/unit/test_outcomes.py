"""The outcome of a change as an event shows it, by what the agent reports."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from msgspec.structs import replace

from cenote.model.event_records import Difference, Event, EventType, Note
from cenote.model.parts import PartName
from cenote.model.records import Cluster, Removal, RemovalKind
from cenote.model.status_records import NodeStatus
from cenote.rules import in_force, outcomes
from cenote.rules.outcomes import DONE, Outcome, OutcomeName
from tests.support import wanted

AT = datetime(2026, 1, 1, tzinfo=UTC)
REMOVAL = Removal(id=UUID(int=3), kind=RemovalKind.DATABASE, name="shop", at=AT)
CLUSTER = replace(wanted.CLUSTER, removing=(REMOVAL,))
POOL_CHANGED = Event(
    id="1",
    at=AT,
    note=Note(what="PUT /x", token_id=uuid4(), type=EventType.CLUSTER_UPDATE),
    cluster_id=CLUSTER.id,
    changes=(Difference(what="pool p: size", before="1", after="2"),),
    parts=(PartName.POOLER,),
    revision=7,
)


def status(**fields: Any) -> NodeStatus:
    return NodeStatus(**{"reached": 5, "tried": 5, "at": AT, **fields})


def outcome(event: Event, seen: NodeStatus | None, cluster: Cluster | None = CLUSTER) -> Outcome | None:
    return outcomes.of_event(event, cluster, seen)


def pending(reason: str) -> Outcome:
    return Outcome(OutcomeName.PENDING, reason)


def test_a_change_is_done_when_its_revision_is_reached() -> None:
    assert outcome(POOL_CHANGED, status(reached=7)) == DONE
    assert outcome(POOL_CHANGED, status(reason="PgBouncer is stopped")) == pending("PgBouncer is stopped")
    assert outcome(POOL_CHANGED, status()) == pending(in_force.UNDER_WAY)
    assert outcome(POOL_CHANGED, None) == pending("waiting for the host's agent")


def test_a_change_is_judged_by_the_parts_that_it_concerns() -> None:
    failed = status(tried=7, failed={PartName.DATABASES: "a lock is held"}, reason="a lock is held")
    assert outcome(POOL_CHANGED, failed) == DONE
    database = replace(POOL_CHANGED, parts=(PartName.DATABASES,))
    assert outcome(database, failed) == pending("a lock is held")
    of_an_earlier_version = replace(POOL_CHANGED, parts=(), changes=())
    assert outcome(of_an_earlier_version, failed) == pending("a lock is held")


def test_what_no_server_depends_on_is_done_at_once() -> None:
    assert outcome(replace(POOL_CHANGED, parts=()), None) == DONE
    assert outcome(replace(POOL_CHANGED, cluster_id=None), None, None) == DONE
    by_itself = replace(POOL_CHANGED, note=Note(what="started PgBouncer"), changes=())
    assert outcome(by_itself, status()) == DONE


def test_a_deletion_is_done_when_its_own_removal_is() -> None:
    dropped = replace(POOL_CHANGED, parts=(), removing=(REMOVAL.id,))
    remaining = status(reached=7, remaining={str(REMOVAL.id): "a slot is active"})
    assert outcome(dropped, remaining) == pending("database 'shop' is being removed: a slot is active")
    assert outcome(POOL_CHANGED, remaining) == DONE
    assert outcome(dropped, status(reached=7, gone=(REMOVAL.id,))) == DONE


def test_a_deleted_cluster_is_done_when_nothing_is_left_of_it() -> None:
    note = replace(POOL_CHANGED.note, type=EventType.CLUSTER_DELETE)
    deleted = replace(POOL_CHANGED, note=note)
    assert outcome(deleted, status(reached=9)) == pending(in_force.UNDER_WAY)
    assert outcome(deleted, None, None) == DONE
    assert outcome(POOL_CHANGED, None, None) is None


def test_a_rejected_request_is_refused() -> None:
    refused = replace(POOL_CHANGED, note=replace(POOL_CHANGED.note, refused=422), changes=())
    assert outcome(refused, status(reached=9)) == Outcome(OutcomeName.REFUSED)
