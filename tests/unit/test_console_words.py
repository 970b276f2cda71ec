"""What pages say: times, what a host lacks, and the messages of a log."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.console.host_room import is_larger, shortages
from cenote.console.log_lines import MAX_SHOWN, MAX_TEXT, line, newest, visible
from cenote.console.rendering import duration, octets, short
from cenote.console.times import relative, when
from cenote.model.catalog import SIZES

SMALL, LARGE = SIZES["db-s-1vcpu-1gb"], SIZES["db-s-4vcpu-8gb"]
ROOM = {
    "hosts": 1,
    "clusters": 2,
    "cpus": 2,
    "memory_mib": 4096,
    "allocated_memory_mib": 2048,
    "disk_mib": 100 * 1024,
    "allocated_storage_mib": 20 * 1024,
}

# -- Times


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "just now"),
        (-9.9, "just now"),
        (10, "10 seconds ago"),
        (60, "1 minute ago"),
        (119.9, "1 minute ago"),
        (7200, "2 hours ago"),
        (86400, "1 day ago"),
        (45 * 86400, "1 month ago"),
        (800 * 86400, "2 years ago"),
        (-90 * 86400, "in 3 months"),
        (-61, "in 1 minute"),
    ],
)
def test_a_time_is_said_in_its_largest_unit(seconds: float, words: str) -> None:
    assert relative(seconds) == words


def test_a_time_has_the_exact_one_on_hover() -> None:
    shown = when("2026-03-01T12:00:05Z")
    assert 'datetime="2026-03-01T12:00:05Z"' in shown
    assert 'title="1 Mar 2026, 12:00:05 UTC"' in shown


@pytest.mark.parametrize(
    ("seconds", "words"), [(20, "20 s"), (120, "2 min"), (900, "15 min"), (3600, "60 min"), (86400, "24 h")]
)
def test_the_span_of_a_chart_is_short(seconds: float, words: str) -> None:
    assert short(seconds) == words


# -- What a host lacks


def test_what_fits_is_not_mentioned() -> None:
    assert shortages(ROOM, SMALL) == []
    assert shortages(None, LARGE) == []
    assert not is_larger(ROOM, SMALL)


def test_what_the_host_lacks_for_the_size_alone_has_both_figures() -> None:
    assert shortages(ROOM, LARGE) == [
        "CPUs: the size has 4, the host 2.",
        "Memory: the size has 8 GiB, the host 4 GiB.",
        "Storage: the size has 140 GiB, the host 100 GiB.",
    ]
    assert is_larger(ROOM, LARGE)


def test_clusters_are_counted_together() -> None:
    full = ROOM | {"allocated_memory_mib": 3584, "allocated_storage_mib": 95 * 1024}
    assert shortages(full, SMALL) == [
        "Memory: 4.5 GiB together with 2 other clusters, the host has 4 GiB.",
        "Storage: 105 GiB together with 2 other clusters, the host has 100 GiB.",
    ]
    assert not is_larger(full, SMALL)


def test_a_cluster_that_is_resized_is_not_counted_twice() -> None:
    own = {"size": "db-s-1vcpu-2gb", "storage_size_mib": 20 * 1024}
    full = ROOM | {"allocated_memory_mib": 4096}
    assert shortages(full, SIZES["db-s-1vcpu-2gb"], instead_of=own) == []
    assert shortages(full, SIZES["db-s-2vcpu-4gb"], instead_of=own) == [
        "Memory: 6 GiB together with 1 other cluster, the host has 4 GiB."
    ]


def test_a_disk_of_unknown_size_is_not_compared() -> None:
    assert shortages(ROOM | {"disk_mib": 0, "cpus": 8, "memory_mib": 65536}, LARGE) == []


# -- Logs


def message(text: str) -> dict[str, Any]:
    return {"at": "2026-03-01T12:00:00Z", "process": None, "severity": "error", "text": text}


@given(st.text())
def test_no_control_character_is_shown(text: str) -> None:
    shown = visible(text)
    assert len(shown) == len(text)
    assert all(letter.isprintable() or letter in "\n\t" for letter in shown)
    assert all(after == before for before, after in zip(text, shown, strict=True) if before.isprintable())


@given(st.lists(st.integers(0, 3 * MAX_TEXT), max_size=60))
def test_the_newest_messages_are_shown_as_far_as_they_fit(lengths: list[int]) -> None:
    messages = [message(f"{number} " + "x" * length) for number, length in enumerate(lengths)]
    shown = newest(messages)
    size = sum(len(one["text"]) for one in shown)
    assert size <= MAX_SHOWN
    assert [one["text"].partition(" ")[0] for one in shown] == [
        one["text"].partition(" ")[0] for one in messages[len(messages) - len(shown) :]
    ]
    assert len(shown) == len(messages) or size > MAX_SHOWN - MAX_TEXT - 100


def test_a_line_of_a_file_has_time_process_and_severity() -> None:
    assert line(message("a\x1bb")) == "2026-03-01T12:00:00Z [-] ERROR: a␛b\n"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0 B"),
        (1023, "1,023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (25 * 1024**2, "25 MiB"),
        (3 * 1024**4, "3 TiB"),
        (5000 * 1024**4, "5,000 TiB"),
    ],
    ids=str,
)
def test_bytes_in_a_readable_unit(value: int, words: str) -> None:
    assert octets(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"), (3720, "1 h 02 min")],
    ids=str,
)
def test_how_long_something_took(value: int, words: str) -> None:
    assert duration(value) == words
