"""Messages for OpenSearch and Elasticsearch."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.logs import bulk
from cenote.logs.messages import Message, Severity
from cenote.logs.place import Place
from cenote.model.records import LogSource

CLUSTER = UUID("12345678-9abc-def0-1234-56789abcdef0")
PLACE = Place(CLUSTER, "backend", "node-1", "db-1")
AT = datetime(2026, 3, 1, 7, 8, 9, 120_000, tzinfo=UTC)
MESSAGE = Message(
    LogSource.POSTGRES, 100, 200, "ERROR:  x\n\ty", Severity.ERROR, AT, 41, "app", "orders", "psql"
)


def answer(*items: tuple[int, str]) -> bytes:
    told = [{"create": {"status": status, "error": {"type": kind, "reason": "…"}}} for status, kind in items]
    return json.dumps({"errors": True, "items": told}).encode()


def body(*messages: Message) -> list[Any]:
    lines = bulk.body(messages, prefix="logs", place=PLACE)
    assert lines.endswith(b"\n")
    return [json.loads(line) for line in lines.splitlines()]


def test_a_document_has_what_is_known_of_a_message_and_goes_into_the_index_of_its_day() -> None:
    action, document = body(MESSAGE)
    assert action["create"]["_index"] == "logs-2026.03.01"
    assert document == {
        "@timestamp": "2026-03-01T07:08:09.120Z",
        "message": "ERROR:  x\n\ty",
        "severity": "error",
        "source": "postgres",
        "cluster": "backend",
        "cluster_id": str(CLUSTER),
        "node": "node-1",
        "host": "db-1",
        "process": 41,
        "user": "app",
        "database": "orders",
        "application": "psql",
    }


def test_a_message_has_the_same_id_each_time_and_no_other_has_it() -> None:
    others = [
        replace(MESSAGE, start=101),
        replace(MESSAGE, text="ERROR:  x"),
        replace(MESSAGE, source=LogSource.PGBOUNCER),
        replace(MESSAGE, origin="another file"),
    ]
    ids = [bulk.document_id(message, PLACE) for message in (MESSAGE, *others)]
    ids.append(bulk.document_id(MESSAGE, replace(PLACE, cluster_id=UUID(int=1))))
    ids.append(bulk.document_id(MESSAGE, replace(PLACE, node="node-2")))
    assert len(set(ids)) == len(ids)
    assert bulk.document_id(replace(MESSAGE, end=999), PLACE) == ids[0]


def test_of_each_message_it_is_told_what_becomes_of_it() -> None:
    messages = [replace(MESSAGE, start=number) for number in range(7)]
    found = bulk.parse_response(
        messages,
        answer(
            (201, ""),
            (409, "version_conflict_engine_exception"),
            (429, "es_rejected_execution_exception"),
            (503, "unavailable_shards_exception"),
            (400, "mapper_parsing_exception"),
            (403, "cluster_block_exception"),
            (400, "validation_exception"),
        ),
    )
    assert [message.start for message in found.retry] == [2, 3, 5, 6]
    assert [message.start for message in found.refused] == [4]
    assert found.reason == "es_rejected_execution_exception (status 429)"


def test_the_text_of_an_error_is_not_repeated_as_it_may_hold_the_message() -> None:
    told = {"create": {"status": 400, "error": {"type": "Secret 1", "reason": "secret 2"}}}
    found = bulk.parse_response([MESSAGE], json.dumps({"items": [told]}).encode())
    assert found.reason == "an error (status 400)"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"items": 1}',
        '{"items": [1]}',
        '{"items": [{}]}',
        '{"items": [{"create": {}}]}',
    ],
)
def test_what_is_no_answer_to_the_call_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(ValueError, match="_bulk request"):
        bulk.parse_response([MESSAGE], text.encode())


def test_an_answer_for_fewer_messages_is_none() -> None:
    with pytest.raises(ValueError, match="1 items for 2 messages"):
        bulk.parse_response([MESSAGE, MESSAGE], answer((201, "")))


@given(st.integers(1, 10_000), st.integers(0, 10_000))
def test_an_index_is_dropped_when_it_is_as_many_days_old_as_are_kept(days: int, age: int) -> None:
    today = date(2060, 1, 1)
    name = f"logs-{date.fromordinal(today.toordinal() - age):%Y.%m.%d}"
    newer = f"logs-{today + timedelta(days=1):%Y.%m.%d}"
    assert bulk.expired_indices([name, newer], "logs", days, today) == ([name] if age >= days else [])
    assert bulk.expired_indices([name], "logs", days, today) == []  # the newest one stays


@pytest.mark.parametrize(
    "name",
    ["logs", "logs-", "logs-2001.1.1", "logs-2001.02.30", "logs-2001.01.01-x", "logs-x-2001.01.01", "log-"],
)
def test_an_index_that_is_not_ours_is_left_alone(name: str) -> None:
    assert bulk.expired_indices([name], "logs", 1, date(2026, 1, 1)) == []
