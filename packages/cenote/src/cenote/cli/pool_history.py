"""The history of a pool as rows: the API has a list for each number, with one value per time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

HISTORY = {
    "WHEN": "at",
    "CLIENTS": "clients_active",
    "WAITING": "clients_waiting",
    "LONGEST WAIT (s)": "longest_wait_seconds",
    "SERVERS": "servers_active",
    "SIZE": "size",
    "TRANSACTIONS/s": "transactions_per_second",
    "QUERIES/s": "queries_per_second",
}


def history_rows(pool: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one object per time, which is in UTC."""
    names = [name for name, values in pool.items() if isinstance(values, list)]
    rows = [
        dict(zip(names, values, strict=True)) for values in zip(*(pool[name] for name in names), strict=True)
    ]
    return [{**row, "at": f"{datetime.fromtimestamp(row['at'], UTC):%Y-%m-%dT%H:%M:%SZ}"} for row in rows]
