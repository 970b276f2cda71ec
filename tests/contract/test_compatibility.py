"""docs/compatibility.md says of every operation what the routes do.

Whoever adds an operation changes its row; the failure names it.
"""

from __future__ import annotations

import re
from pathlib import Path

from cenote.api.app import OPERATIONS
from cenote_client import _operations as operations
from tests.support.reference import OTHERS, Operation, Reference

DOCUMENT = Path(__file__).parents[2] / "docs" / "compatibility.md"
STATES = {"reject": "not yet"}  # the function behind a route that is not done here; all others are done
ONE = "/v2/databases/{database_cluster_uuid}"


def told() -> list[tuple[Operation, str]]:
    """Return each operation of the table and what the table says of it."""
    rows = []
    for line in DOCUMENT.read_text().splitlines():
        found = re.fullmatch(r"\| ([A-Z ]+) \| `([^`]+)` \| ([a-z ]+) \|.*\|", line)
        if found is not None:
            path = re.sub(r"^C(?=/|$)", ONE, found[2])
            rows += [((method, path), found[3]) for method in found[1].split()]
    return rows


def done() -> dict[Operation, str]:
    """Return each operation for PostgreSQL that has a route, and what becomes of a call."""
    return {
        (route.method.value, route.path): STATES.get(route.name, "done")
        for route in OPERATIONS
        if not any(f"/{other}" in route.path for other in OTHERS)
    }


def test_no_operation_is_in_the_table_twice() -> None:
    operations = [operation for operation, _ in told()]
    assert len(operations) == len(set(operations))


def test_the_table_says_of_every_operation_what_the_routes_do() -> None:
    assert {operation: state.replace("added", "done") for operation, state in told()} == done()


def test_the_table_has_the_operations_of_the_reference_and_names_ours() -> None:
    of_databases = {one for one, state in told() if state != "added" and one[1].startswith("/v2/databases")}
    assert of_databases == Reference().for_postgresql()


def test_every_addition_has_a_typed_method() -> None:
    """But a stream, which no method of one answer can be, and what Prometheus reads."""
    without = {
        ("GET", f"{ONE}/pool_stats/stream"),
        ("GET", "/v2/cenote/metrics_targets"),
        ("GET", "/v2/cenote/metrics_ca"),
    }
    added = {operation for operation, state in told() if state == "added"}
    methods = {
        (one.method, one.path) for one in vars(operations).values() if isinstance(one, operations.Operation)
    }
    unnamed = {(method, re.sub(r"\{\w+\}", "{}", path)) for method, path in added - without}
    assert unnamed - methods == set()
