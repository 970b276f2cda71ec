"""Names of deleted users and databases: when they may be used again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from cenote import rules
from cenote.errors import Busy, NotFound
from cenote.model.records import Cluster, RemovalKind
from cenote.model.status_records import NodeStatus
from cenote.rules import removals
from tests.support.wanted import CLUSTER, user

USER, DATABASE = RemovalKind.USER, RemovalKind.DATABASE
PLAIN = rules.remove_pool(CLUSTER, "backend-pool")


def seen(*gone: object, **remaining: str) -> NodeStatus:
    ids = (*(one.id for one in PLAIN.removing), *gone)
    return NodeStatus(reached=1, at=datetime.now(UTC), gone=ids, remaining=remaining)  # type: ignore[arg-type]


def id_of(cluster: Cluster, name: str) -> object:
    return next(one.id for one in reversed(cluster.removing) if one.name == name)


def test_a_name_is_free_when_the_agent_has_seen_that_the_thing_is_gone() -> None:
    removed = rules.remove_user(PLAIN, "app")
    for report in (None, seen()):
        with pytest.raises(Busy, match="user name is not available yet: user 'app' is being removed"):
            rules.add_user(removed, user("app"), report)
    again = rules.add_user(removed, user("app"), seen(id_of(removed, "app")))
    assert again.user("app") is not None
    assert again.removing == ()


def test_the_same_holds_for_databases_and_a_user_of_the_name_is_another_thing() -> None:
    removed = rules.remove_database(PLAIN, "orders")
    with pytest.raises(Busy):
        rules.add_database(removed, "orders", "", seen())
    assert rules.add_user(removed, user("orders"), seen()).user("orders") is not None
    assert rules.add_database(removed, "orders", "", seen(id_of(removed, "orders"))).database("orders")


def test_a_report_on_an_earlier_removal_of_the_name_frees_nothing() -> None:
    first = rules.remove_user(PLAIN, "app")
    report = seen(id_of(first, "app"))
    second = rules.remove_user(rules.add_user(first, user("app"), report), "app", report)
    with pytest.raises(Busy):
        rules.add_user(second, user("app"), report)


def test_what_holds_a_removal_up_is_told_in_words() -> None:
    removed = rules.remove_database(rules.remove_user(PLAIN, "app"), "orders")
    report = seen(**{str(id_of(removed, "app")): "a lock"})
    assert removals.in_words(removed, report) == [
        "user 'app' is being removed: a lock",
        "database 'orders' is being removed",
    ]
    with pytest.raises(Busy, match="a lock"):
        rules.add_user(removed, user("app"), report)


def test_finished_removals_are_kept_for_repeated_calls_and_not_without_end() -> None:
    cluster = PLAIN
    gone: list[object] = []
    for number in range(removals.MOST_FINISHED + 10):
        report = seen(*gone)
        name = f"user-{number}"
        cluster = rules.remove_user(rules.add_user(cluster, user(name), report), name, report)
        gone.append(id_of(cluster, name))
    assert len(cluster.removing) == removals.MOST_FINISHED + 1
    assert cluster.removal(USER, "user-59") is not None
    assert cluster.removal(USER, "user-0") is None
    assert cluster.removal(DATABASE, "user-59") is None
    with pytest.raises(NotFound):
        rules.remove_user(cluster, "user-59")


def test_pending_removals_are_never_forgotten_and_count_for_the_limit() -> None:
    cluster = PLAIN
    for number in range(removals.MOST_FINISHED + 10):
        name = f"user-{number}"
        cluster = rules.remove_user(rules.add_user(cluster, user(name)), name)
    assert len(removals.pending(cluster, seen())) == removals.MOST_FINISHED + 10
    assert removals.count(cluster, USER, seen()) == removals.MOST_FINISHED + 10


def test_what_keeps_the_agent_from_the_node_is_told_of_a_removal_without_an_attempt() -> None:
    removed = rules.remove_database(rules.remove_user(PLAIN, "app"), "orders")
    report = replace(seen(**{str(id_of(removed, "app")): "a lock"}), failing=True, reason="no PostgreSQL")
    assert removals.why(removed, USER, "app", report) == "user 'app' is being removed: a lock"
    assert removals.why(removed, DATABASE, "orders", report) == (
        "database 'orders' is being removed: no PostgreSQL"
    )
    report = replace(report, failing=False, reason="the storage is nearly full")
    assert removals.why(removed, DATABASE, "orders", report) == "database 'orders' is being removed"


def test_the_drop_of_a_user_is_new_for_some_seconds_whichever_clock_is_ahead() -> None:
    cluster = rules.remove_user(rules.remove_database(PLAIN, "orders"), "app")
    at = next(one.at for one in cluster.removing if one.name == "app")
    for seconds, expected in ((-60, False), (-10, True), (0, True), (10, True), (60, False)):
        assert removals.is_new(cluster, at + timedelta(seconds=seconds)) is expected
    others = replace(cluster, removing=tuple(one for one in cluster.removing if one.kind is DATABASE))
    assert others.removing
    assert not removals.is_new(others, at), "a standby ends sessions of a database by itself"
