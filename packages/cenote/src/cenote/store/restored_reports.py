"""Reports of agents that come back with the records of a service: pure.

The revisions in them are those of another store, far ahead of those that the records have in this one: with
them, everything would count as carried out.  And each node counts as one that was online: a cluster that was
just being made when the backup was would otherwise come up as an empty database, in place of its data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from cenote.model.records import Cluster
from cenote.model.status_records import NodeStatus
from cenote.store.backup import Entry
from cenote.store.encoding import decode, encode
from cenote.store.keys import Keys

EARLIEST = 1  # lower than the revision of any record: the first that etcd gives is 2

_report = msgspec.json.Decoder(NodeStatus)
_cluster = msgspec.json.Decoder(Cluster)


def of_another_store(keys: Keys, entries: Iterable[Entry], now: datetime) -> list[Entry]:
    """Return the entries with reports that fit another store; NewerFormat for a record of a newer version.

    DecodeError for the damaged record of a cluster.
    """
    found = dict(entries)
    for key in [key for key in found if key.startswith(keys.all_reports)]:
        try:
            known = decode(key, found[key], _report)
        except msgspec.DecodeError:
            del found[key]  # the service can do without it
        else:
            found[key] = encode(_anew(known))
    for cluster in _clusters(keys, list(found.items())):
        for node in cluster.nodes:
            key = keys.report(node.host, cluster.id, node.name)
            if key not in found:
                found[key] = encode(NodeStatus(reached=EARLIEST, at=now))
    return list(found.items())


def _anew(known: NodeStatus) -> NodeStatus:
    """Return a report without what would drive a move: it is to be seen again before one goes on."""
    return msgspec.structs.replace(
        known,
        reached=EARLIEST,
        tried=0,
        failed={},
        ahead=(),
        ended_at=0,
        standby=None,
        clients=0,
        leads_on=False,
        slot_lost=False,
        copied_mib=0,
        found=None,
    )


def _clusters(keys: Keys, entries: Sequence[Entry]) -> list[Cluster]:
    return [decode(key, value, _cluster) for key, value in entries if key.startswith(keys.clusters)]
