"""Whether two hosts keep backups in one place."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from cenote.model.fleet_records import Host
from cenote.rules import repository_identity
from tests.unit.test_moves import host

ONE = host("a", repository="file:///srv")
TWO = host("b", repository="file:///srv")


@pytest.mark.parametrize(
    ("one", "two", "shared"),
    [
        (ONE, TWO, True),  # hosts of an earlier version are known by the name alone
        (ONE, replace(TWO, repository="file:///mnt"), False),
        (replace(ONE, default_repository=True), TWO, False),
        (ONE, replace(TWO, repository_warning="it is on the disk of the data"), False),
        (replace(ONE, repository_id="x"), replace(TWO, repository_id="y"), False),
        (replace(ONE, repository_id="x"), TWO, True),
        (
            replace(ONE, repository_id="x"),
            replace(TWO, repository_id="x", repository="file:///mnt", repository_warning="it is its disk"),
            True,
        ),
        (replace(ONE, repository_warning="it is its disk"), replace(ONE, repository_warning="x"), True),
    ],
)
def test_a_mark_in_the_repository_says_whether_it_is_the_same_one(
    one: Host, two: Host, *, shared: bool
) -> None:
    assert repository_identity.is_shared(one, two) is shared
    assert repository_identity.is_shared(two, one) is shared


def test_what_lies_there_and_is_no_mark_counts_for_none() -> None:
    mark = "0123456789abcdef" * 2
    assert repository_identity.parsed(f"{mark}\n") == mark
    for text in ("", "x", f"{mark}0", mark.upper()):
        assert repository_identity.parsed(text) == ""
