"""The logs of several nodes as one."""

from __future__ import annotations

from typing import Any

from cenote.cli.logs import in_order


def message(node: str, at: str | None, text: str) -> dict[str, Any]:
    return {"node": node, "at": at, "text": text}


def test_messages_of_several_nodes_are_in_order_of_time_and_those_without_one_stay_where_they_are() -> None:
    found = in_order(
        [
            message("node-1", None, "before all"),
            message("node-1", "2026-11-29T12:00:01Z", "first"),
            message("node-1", None, "of the first"),
            message("node-1", "2026-11-29T12:00:05Z", "last"),
            message("node-2", "2026-11-29T12:00:03Z", "between"),
            message("node-2", None, "of that"),
        ]
    )
    assert [one["text"] for one in found] == [
        "before all",
        "first",
        "of the first",
        "between",
        "of that",
        "last",
    ]
