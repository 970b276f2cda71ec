"""Records of format 1 carried over: the same records, each with its format and its host's id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.store.format1 import Damaged, OldRecords
from cenote.store.keys import Keys

KEYS = Keys("/cenote/")
HOSTS = {"one": "id-1", "zwei ü/%": "id-2"}
UNKNOWN = st.dictionaries(
    st.from_regex("x_[a-z]{1,4}", fullmatch=True), st.integers() | st.text() | st.none()
)
IDS = st.integers(0, 1 << 32).map(lambda number: str(UUID(int=number)))


@st.composite
def old_stores(draw: st.DrawFn) -> dict[str, dict[str, Any] | bytes]:
    """Clusters with what belongs to them, and other records; dicts are records."""
    found: dict[str, dict[str, Any] | bytes] = {}
    for number, id in enumerate(draw(st.lists(IDS, unique=True, max_size=4))):
        host = draw(st.sampled_from(sorted(HOSTS)))
        node = {"name": "node-1", "host": host, "role": "primary", **draw(UNKNOWN)}
        found[f"clusters/{id}"] = {"id": id, "nodes": [node], **draw(UNKNOWN)}
        found[f"names/{quote('a/b', safe='')}{number}"] = id.encode()
        found[f"ports/{quote(host, safe='')}/{25060 + number}"] = id.encode()
        found[f"status/{id}/node-1"] = {"reached": number, **draw(UNKNOWN)}
        found[f"events/{number:04}"] = {"id": f"{number:04}", "cluster_id": id, **draw(UNKNOWN)}
    found["events/ffff"] = {"id": "ffff", **draw(UNKNOWN)}
    for key in ("tokens/" + "a" * 64, "logins/metrics", f"tags/{quote('ä/', safe='')}", "refusals/01"):
        found[key] = draw(UNKNOWN)
    found["retired_keys/0011"] = b"2233"
    found["hosts/one"] = {"name": "one"}
    found["marks/m/1"] = b"\0"
    return found


def encoded(old: Mapping[str, dict[str, Any] | bytes]) -> dict[str, bytes]:
    return {k: v if isinstance(v, bytes) else msgspec.json.encode(v) for k, v in old.items()}


def converted(old: Mapping[str, dict[str, Any] | bytes]) -> dict[str, bytes]:
    found = list(OldRecords(encoded(old)).converted(KEYS, HOSTS, lambda sinks: sinks))
    assert len(dict(found)) == len(found), "two records became one"
    return dict(found)


@given(old_stores())
def test_the_records_are_the_same_ones(old: dict[str, dict[str, Any] | bytes]) -> None:
    new = converted(old)
    for name, id in HOSTS.items():
        assert new.pop(KEYS.host_name(name)) == id.encode()
        assert msgspec.json.decode(new.pop(KEYS.host(id)))["name"] == name
    for key, record in old.items():
        folder, _, rest = key.partition("/")
        if folder in ("hosts", "marks"):
            continue
        if folder == "ports":
            key = f"ports/{HOSTS['one' if rest.startswith('one/') else 'zwei ü/%']}/{rest.rpartition('/')[2]}"
        if folder == "status":
            cluster = old[f"clusters/{rest.partition('/')[0]}"]
            assert isinstance(cluster, dict)
            key = f"reports/{HOSTS[cluster['nodes'][0]['host']]}/{rest}"
        if folder == "events":
            assert isinstance(record, dict)
            key = f"events/{record.get('cluster_id', '-')}/{rest}"
        value = new.pop(KEYS.prefix + key)
        if isinstance(record, bytes):
            assert value == record
            continue
        expected: dict[str, Any] = {"format": 2, **record}
        if folder == "clusters":
            [node] = record["nodes"]
            node = {name: value for name, value in node.items() if name != "role"}
            expected["nodes"] = [{**node, "host": HOSTS[node["host"]]}]
        assert msgspec.json.decode(value) == expected
    assert not new


def test_a_report_on_a_node_that_is_in_no_record_stays_behind() -> None:
    id = str(UUID(int=1))
    new = converted({f"status/{id}/node-1": {"reached": 1}, f"clusters/{UUID(int=2)}": {"nodes": []}})
    assert not [key for key in new if "/reports/" in key]


def test_only_log_sinks_are_sealed_for_the_hosts() -> None:
    old = {f"clusters/{UUID(int=1)}": {"nodes": [], "users": ["api"], "sinks": [{"sealed_config": "api"}]}}
    records = OldRecords(encoded(old)).converted(KEYS, {}, lambda sinks: sinks.replace(b"api", b"host"))
    [(_, value)] = records
    record = msgspec.json.decode(value)
    assert record["users"] == ["api"]
    assert record["sinks"] == [{"sealed_config": "host"}]


def test_a_damaged_record_is_named() -> None:
    with pytest.raises(Damaged, match="tokens/x"):
        list(OldRecords({"tokens/x": b"{"}).converted(KEYS, {}, lambda sinks: sinks))
    with pytest.raises(Damaged, match="clusters/x"):
        OldRecords({"clusters/x": b"[]"})
