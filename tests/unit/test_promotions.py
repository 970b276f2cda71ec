"""The WAL that a promoted node has, beside what is in the archive."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cenote.rules import promotions
from cenote.rules.promotions import Promotion

FIRST = "000000020000000100000000"
BEFORE = "0000000100000000000000FF"


def test_what_a_file_says_is_read_again_and_what_is_damaged_is_nothing() -> None:
    since = datetime(2026, 5, 1, tzinfo=UTC)
    for settled in (False, True):
        for at in (None, since):
            promotion = Promotion(system="7", timeline="00000002", first=FIRST, since=at, settled=settled)
            assert promotions.decoded(promotion.encode()) == promotion
    for content in (None, b"", b"00000002 x 0\n", b"\xff\xfe"):
        assert promotions.decoded(content) is None


def test_segments_are_in_the_order_of_their_numbers_whatever_their_timelines() -> None:
    names = ["00000002.history", "000000020000000000000003", "000000010000000000000004", "archive_status"]
    assert promotions.segments(names) == ["000000020000000000000003", "000000010000000000000004"]


@pytest.mark.parametrize(
    ("names", "is_hole"),
    [
        ({f"{BEFORE}-0123.zst"}, False),
        ({"0000000200000000000000FF-0123.zst"}, False),  # of another timeline
        ({"0000000100000000000000FE-0123.zst"}, True),
    ],
)
def test_there_is_a_hole_where_what_is_right_before_is_not_in_the_archive(
    names: set[str], *, is_hole: bool
) -> None:
    folders = ["0000000100000000", "0000000200000000"]
    assert promotions.folders_before(FIRST, [*folders, "0000000200000001"]) == folders
    assert promotions.is_hole(FIRST, folders, names) is is_hole


def test_an_archive_that_begins_later_lacks_nothing() -> None:
    assert not promotions.is_hole(FIRST, ["0000000200000001"], {f"{FIRST}-0123.zst"})
    assert not promotions.is_hole(FIRST, [], set())
    assert promotions.is_hole("000000020000000200000005", ["0000000100000001", "0000000100000002"], set())
