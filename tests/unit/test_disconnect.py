"""Which sessions a pass ends."""

from __future__ import annotations

from cenote.engine.plan import disconnect
from cenote.engine.plan.disconnect import Seen
from cenote.model.changes import Sql
from tests.unit.test_engine_managed import of_node


def test_sessions_of_users_that_were_dropped_are_ended_by_what_the_server_says_then() -> None:
    context = of_node("node-2")
    assert list(disconnect.plan(context, Seen())) == []
    [change] = disconnect.plan(context, Seen(ownerless=True))
    assert isinstance(change, Sql)
    [statement] = change.statements
    text = statement.as_string(None)
    assert text.split()[:2] == ["SELECT", "pg_terminate_backend(pid)"]
    assert "rolname IS NULL" in text
