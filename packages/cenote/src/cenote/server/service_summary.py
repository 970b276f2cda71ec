"""What is in the backup of a service, in a few words: pure."""

from __future__ import annotations

from typing import Any

import msgspec

from cenote.model.fleet_records import Host
from cenote.model.records import Cluster
from cenote.model.service_backup import ServiceBackup
from cenote.store.encoding import decode
from cenote.store.keys import Keys

_cluster = msgspec.json.Decoder(Cluster)
_host = msgspec.json.Decoder(Host)


def of(made: ServiceBackup) -> dict[str, Any]:
    """Return when and where it was made, and the names of hosts and clusters in it.

    NewerFormat for records of a newer version, DecodeError for damaged ones.
    """
    keys = Keys(made.prefix)
    clusters = [decode(key, value, _cluster) for key, value in made.records if key.startswith(keys.clusters)]
    hosts = [decode(key, value, _host) for key, value in made.records if key.startswith(keys.hosts)]
    return {
        "made_at": f"{made.made_at:%Y-%m-%dT%H:%M:%SZ}",
        "cenote_version": made.cenote,
        "store": str(made.store),
        "host": made.host_name,
        "hosts": sorted(host.name for host in hosts),
        "clusters": sorted(cluster.name for cluster in clusters if cluster.deleted_at is None),
        "tokens": sum(key.startswith(keys.tokens) for key, _ in made.records),
        "records": len(made.records),
    }
