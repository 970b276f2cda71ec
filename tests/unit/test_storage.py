"""How full the storage of a cluster is, and what follows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cenote.errors import Invalid
from cenote.model.records import Cluster, StorageAutoscale
from cenote.model.status_records import DiskUse
from cenote.rules import storage
from tests.support.wanted import CLUSTER

PLENTY = 500_000
GROWING = StorageAutoscale(enabled=True, threshold_percent=80, increment_gib=10)


def cluster(autoscale: StorageAutoscale = StorageAutoscale()) -> Cluster:  # noqa: B008 - it is frozen
    return replace(CLUSTER, storage_mib=10_000, autoscale=autoscale)


def use(used_mib: int, free_mib: int = PLENTY) -> DiskUse:
    return DiskUse(used_mib=used_mib, free_mib=free_mib, disk_mib=1_000_000)


REFUSALS: list[tuple[int, int, bool, bool]] = [
    (9_699, PLENTY, False, False),
    (9_700, PLENTY, False, True),
    (9_500, PLENTY, True, True),
    (9_499, PLENTY, True, False),
    (0, 1_024, False, False),
    (0, 1_023, False, True),
    (0, 1_279, True, True),
    (0, 1_280, True, False),
    (20_000, PLENTY, False, True),
]


@pytest.mark.parametrize(("used", "free", "refused", "expected"), REFUSALS)
def test_writes_are_refused_before_it_is_full_and_let_in_again_when_there_is_room(
    used: int, free: int, refused: bool, expected: bool
) -> None:
    assert storage.refuses_writes(use(used, free), 10_000, refused=refused) is expected


def test_a_small_disk_keeps_a_smaller_reserve() -> None:
    assert storage.reserve_mib(DiskUse(used_mib=1, free_mib=100, disk_mib=4_000)) == 80


@given(st.integers(0, 20_000), st.integers(0, 10_000), st.booleans())
def test_whoever_is_refused_is_told_why(used: int, free: int, refused: bool) -> None:
    now = storage.refuses_writes(use(used, free), 10_000, refused=refused)
    words = storage.problem(use(used, free), cluster(), refused=now)
    assert ("writes are refused" in words) is now
    if now:
        assert storage.is_nearly_full(use(used, free), 10_000)
        assert words.startswith((f"{used} of 10000 MiB", f"the disk has {free} MiB"))


def test_its_owner_is_warned_before_writes_are_refused() -> None:
    assert storage.problem(use(8_999), cluster(), refused=False) == ""
    assert storage.problem(use(9_000), cluster(), refused=False) == "9000 of 10000 MiB of storage are used"


def test_storage_grows_when_its_threshold_is_reached() -> None:
    before = cluster(GROWING)
    assert storage.autoscaled(before, use(7_999)) is before
    after = storage.autoscaled(before, use(8_000))
    assert after.storage_mib == 10_000 + 10 * 1024
    assert storage.autoscaled(after, use(8_000)) is after


def test_storage_that_may_not_grow_stays_as_it_is() -> None:
    before = cluster()
    assert storage.autoscaled(before, use(9_999)) is before


def test_storage_does_not_grow_beyond_what_the_disk_has() -> None:
    before = cluster(GROWING)
    scarce = use(9_000, free_mib=10 * 1024 + 1_023)
    assert storage.autoscaled(before, scarce) is before
    assert "the disk has no room for 10 GiB more" in storage.problem(scarce, before, refused=False)
    assert storage.autoscaled(before, use(9_000, free_mib=10 * 1024 + 1_024)) is not before


def test_storage_grows_up_to_the_most_that_there_is() -> None:
    largest = replace(cluster(GROWING), storage_mib=storage.MAX_MIB)
    assert storage.autoscaled(largest, use(storage.MAX_MIB)) is largest


def test_what_is_sent_along_with_the_end_of_growing_means_nothing() -> None:
    assert storage.autoscale(False, 0, 0) == StorageAutoscale()
    assert storage.autoscale(False, 50, 20) == StorageAutoscale()


def test_growing_has_defaults() -> None:
    assert storage.autoscale(True, None, None) == GROWING


@pytest.mark.parametrize(
    ("threshold", "increment", "beginning"),
    [
        (14, 10, "threshold_percent: 14 is out of range: 15 to 95."),
        (96, 10, "threshold_percent: 96 "),
        (80, 9, "increment_gib: 9 is out of range: 10 to 500."),
        (80, 501, "increment_gib: 501 "),
    ],
)
def test_how_storage_grows_has_limits(threshold: int, increment: int, beginning: str) -> None:
    with pytest.raises(Invalid) as refusal:
        storage.autoscale(True, threshold, increment)
    assert refusal.value.message.startswith(beginning)


def test_storage_is_not_shrunk_below_what_is_in_it() -> None:
    storage.check_shrink(1_250, 1_000)
    with pytest.raises(Invalid, match="1249 is too small: 1000 MiB are used, which requires at least 1250"):
        storage.check_shrink(1_249, 1_000)


def test_the_use_is_reported_for_autoscaling_alone_and_grows_the_same() -> None:
    growing = cluster(GROWING)
    assert storage.reported_use(cluster(), use(9_000)) is None
    assert storage.reported_use(growing, use(7_999)) is None
    reported = storage.reported_use(growing, use(8_000, 100 * 1024 + 1_023))
    assert reported == use(8_000, 100 * 1024), "what others write to the disk is not worth a report"
    assert storage.autoscaled(growing, reported) == storage.autoscaled(growing, use(8_000))
