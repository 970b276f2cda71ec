"""The history of records: what is thinned, and what an entry's key tells."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.store import history
from cenote.store.encoding import NewerFormat, encode
from cenote.store.event_ids import milliseconds
from cenote.store.history import KEPT_FOR, MOST_BYTES, Entry
from cenote.store.keys import Keys
from tests.support.etcd import bare_cluster

KEYS = Keys("/cenote/")
NOW = datetime(2026, 1, 10, tzinfo=UTC)


def entries(times: list[int], size: int) -> list[Entry]:
    return [Entry(f"k{number}", at, size) for number, at in enumerate(times)]


def at(ago: timedelta) -> int:
    return milliseconds(NOW - ago)


def test_a_past_record_reads_back_and_its_key_tells_when_and_how_large() -> None:
    cluster = bare_cluster("a", 25060, pools=200)
    put = history.operation(KEYS, cluster, 77, NOW).request_put
    assert put is not None
    key = put.key.decode()
    assert len(put.value) < len(encode(cluster)) / 5
    assert history.record_in(key, put.value) == (NOW, cluster)
    assert history.entry_of(key) == Entry(key, milliseconds(NOW), len(put.value))
    assert history.cluster_of(KEYS, key) == cluster.id


def test_a_past_record_of_a_newer_version_is_refused_and_a_damaged_one_named() -> None:
    newer = encode(msgspec.json.decode(b"{}", type=type("Empty", (msgspec.Struct,), {}))).replace(b"2", b"9")
    with pytest.raises(NewerFormat):
        history.record_in("k", history.pack(newer))
    with pytest.raises(ValueError, match="damaged"):
        history.record_in("k", b"no zlib")


def test_entries_go_when_they_are_old() -> None:
    old, young = at(KEPT_FOR + timedelta(seconds=1)), at(KEPT_FOR - timedelta(seconds=1))
    assert history.to_prune(entries([old, young], 10), NOW) == ["k0"]


def test_of_too_many_bytes_those_go_that_were_valid_shortest() -> None:
    hours = [at(timedelta(hours=hour)) for hour in (5, 4, 3)]
    brief = hours[1] + 1
    made = entries([hours[0], hours[1], brief, hours[2]], MOST_BYTES // 3)
    assert history.to_prune(made, NOW) == ["k2"]


@given(st.lists(st.integers(0, 10 * 24 * 3600), unique=True, max_size=60), st.integers(1, MOST_BYTES // 10))
def test_what_is_kept_fits_and_is_kept_again(seconds: list[int], size: int) -> None:
    made = entries([at(timedelta(seconds=one)) for one in seconds], size)
    gone = set(history.to_prune(made, NOW))
    kept = [entry for entry in made if entry.key not in gone]
    assert sum(entry.size for entry in kept) <= MOST_BYTES
    assert history.to_prune(kept, NOW) == []
    young = [entry for entry in made if entry.replaced_at >= at(KEPT_FOR)]
    if sum(entry.size for entry in young) <= MOST_BYTES:
        assert kept == young
