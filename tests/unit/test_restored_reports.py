"""Reports that come back into another store: what they say stays, and the revisions in them go."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from cenote.model.status_records import NodeStatus, Standby
from cenote.store import restored_reports
from cenote.store.backup import Entry
from cenote.store.encoding import NewerFormat, decode, encode
from cenote.store.keys import Keys
from tests.support.etcd import bare_cluster

KEYS = Keys("/cenote/")
NOW = datetime(2026, 11, 29, tzinfo=UTC)
CLUSTER = bare_cluster("backend", 25060)
[NODE] = CLUSTER.nodes
RECORD = (KEYS.cluster(CLUSTER.id), encode(CLUSTER))
KEY = KEYS.report(NODE.host, CLUSTER.id, NODE.name)


def restored(*entries: Entry) -> NodeStatus:
    found = dict(restored_reports.of_another_store(KEYS, entries, NOW))
    return decode(KEY, found[KEY], msgspec.json.Decoder(NodeStatus))


def test_a_report_keeps_what_it_says_and_loses_its_revisions() -> None:
    known = NodeStatus(
        reached=900, tried=901, failed={"roles": "locked"}, ahead=("PgBouncer",), at=NOW, size="x", used_mib=7
    )
    assert restored(RECORD, (KEY, encode(known))) == NodeStatus(reached=1, at=NOW, size="x", used_mib=7)


def test_nothing_of_a_former_move_drives_another_one() -> None:
    standby = Standby(streaming=True, replayed=7)
    known = NodeStatus(
        reached=900,
        at=NOW,
        ended_at=7,
        standby=standby,
        clients=3,
        leads_on=True,
        slot_lost=True,
        copied_mib=9,
    )
    assert restored(RECORD, (KEY, encode(known))) == NodeStatus(reached=1, at=NOW)


def test_a_cluster_that_was_never_reported_counts_as_one_that_was_online() -> None:
    assert restored(RECORD).reached == 1
    assert restored(RECORD, (KEY, encode(NodeStatus(reached=0, at=NOW)))).reached == 1


def test_a_damaged_report_is_replaced() -> None:
    assert restored(RECORD, (KEY, b"\0\0")) == NodeStatus(reached=1, at=NOW)


def test_everything_else_stays_as_it_is_and_in_its_order() -> None:
    others = [("/cenote/store", b"a"), ("/cenote/v2/tokens/x", b"b"), ("/cenote/v2/events/-/1", b"c")]
    found = restored_reports.of_another_store(KEYS, [*others, RECORD], NOW)
    assert found[:4] == [*others, RECORD]


def test_a_cluster_of_a_newer_version_is_refused() -> None:
    with pytest.raises(NewerFormat):
        restored((RECORD[0], b'{"format":99}'))
