"""The order of tests: at random, the fast folders first; and in which files they run side by side.

pytest-randomly shuffles files, and tests within a file; its seed is in the header of each run.
"""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadFileScheduling

FOLDERS = ("tests/unit/", "tests/integration/", "tests/contract/")


def fast_first(items: list[pytest.Item]) -> None:
    """Sort by folder; within one, the longest files come first, so that no worker ends with one of them.

    Within a file a test that is marked as the last one is.
    """
    files: dict[str, int] = {}
    for number, item in enumerate(items):
        files.setdefault(_file(item.nodeid), number)
    items.sort(
        key=lambda item: (
            _folder(item.nodeid),
            item.get_closest_marker("long") is None,
            files[_file(item.nodeid)],
            item.get_closest_marker("last") is not None,
        )
    )


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def _folder(nodeid: str) -> int:
    return next((number for number, folder in enumerate(FOLDERS) if nodeid.startswith(folder)), len(FOLDERS))


class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Files are run side by side, since the tests of one share servers; unit tests one by one."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if nodeid.startswith(FOLDERS[0]) else super()._split_scope(nodeid)
