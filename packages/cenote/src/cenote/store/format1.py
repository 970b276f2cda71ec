"""The records of format 1, and what each becomes in format 2; pure.

Records are carried over as JSON, whatever they hold, so that no field can be dropped.  A node named its host;
now it gives the host's id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote
from uuid import UUID

import msgspec

from cenote.rules.record_formats import FIRST_WITH_FORMATS
from cenote.store.keys import Keys

FOLDERS = (
    "clusters",
    "names",
    "ports",
    "status",
    "hosts",
    "tokens",
    "logins",
    "tags",
    "projects",
    "networks",
    "events",
    "refusals",
    "retired_keys",
    "marks",
)
_AS_THEY_ARE = {"names", "retired_keys"}  # their values are no JSON
_ONLY_THE_FORMAT = {"tokens", "logins", "tags", "projects", "networks", "refusals"}

Reseal = Callable[[bytes], bytes]


class Damaged(ValueError):
    """The record at this key cannot be read."""


class OldRecords:
    """All records of a store of format 1, by the key below its prefix."""

    def __init__(self, records: Mapping[str, bytes]) -> None:
        self._records = records
        self._clusters = {
            key: _json(key, value) for key, value in records.items() if _folder(key) == "clusters"
        }

    def is_empty(self) -> bool:
        """Whether there is no record at all."""
        return not self._records

    def host_names(self) -> set[str]:
        """The hosts that nodes are on or that hold ports."""
        names = {node["host"] for cluster in self._clusters.values() for node in cluster["nodes"]}
        return names | {unquote(key.split("/")[1]) for key in self._records if _folder(key) == "ports"}

    def living_hosts(self) -> set[str]:
        """The hosts whose service is alive: their records lie under a lease."""
        return {unquote(key.split("/")[1]) for key in self._records if _folder(key) == "hosts"}

    def converted(self, keys: Keys, hosts: Mapping[str, str], reseal: Reseal) -> Iterator[tuple[str, bytes]]:
        """Yield the keys and values of format 2; ``hosts`` has the ids of all ``host_names``.

        ``reseal`` is given the log sinks of a cluster as JSON and returns them sealed for the hosts.
        Damaged when a record cannot be read.
        """
        for name, id in hosts.items():
            yield keys.host_name(name), id.encode()
            yield keys.host(id), _encoded(_unseen_host(id, name))
        for key, value in self._records.items():
            yield from self._one(keys, hosts, reseal, key, value)

    def _one(
        self, keys: Keys, hosts: Mapping[str, str], reseal: Reseal, key: str, value: bytes
    ) -> Iterator[tuple[str, bytes]]:
        match key.split("/"):
            case ["clusters", _]:
                yield keys.prefix + key, _encoded(_cluster(self._clusters[key], hosts, reseal))
            case ["ports", host, port]:
                yield keys.port(hosts[unquote(host)], int(port)), value
            case ["status", id, node]:
                on = self._host_of(id, unquote(node))
                if on is not None:  # else of a node that is no longer in the record
                    yield keys.report(hosts[on], UUID(id), unquote(node)), _encoded(_json(key, value))
            case ["events", id]:
                event = _json(key, value)
                cluster = event.get("cluster_id")
                yield keys.event(None if cluster is None else UUID(cluster), id), _encoded(event)
            case [folder, *_] if folder in _AS_THEY_ARE:
                yield keys.prefix + key, value
            case [folder, *_] if folder in _ONLY_THE_FORMAT:
                yield keys.prefix + key, _encoded(_json(key, value))

    def _host_of(self, cluster_id: str, node_name: str) -> str | None:
        nodes = self._clusters.get(f"clusters/{cluster_id}", {"nodes": ()})["nodes"]
        return next((str(node["host"]) for node in nodes if node["name"] == node_name), None)


def _cluster(cluster: dict[str, Any], hosts: Mapping[str, str], reseal: Reseal) -> dict[str, Any]:
    nodes = [
        {**{name: value for name, value in node.items() if name != "role"}, "host": hosts[node["host"]]}
        for node in cluster["nodes"]
    ]
    sinks = cluster.get("sinks")
    sealed = {"sinks": msgspec.json.decode(reseal(msgspec.json.encode(sinks)))} if sinks else {}
    return {**cluster, "nodes": nodes, **sealed}


def _unseen_host(id: str, name: str) -> dict[str, Any]:
    """The record of a host until its agent writes what the machine is."""
    nothing = {"address": "", "memory_mib": 0, "cpus": 0, "versions": {}, "first_port": 0, "last_port": 0}
    return {"id": id, "name": name, **nothing}


def _folder(key: str) -> str:
    return key.partition("/")[0]


def _json(key: str, value: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(value, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise Damaged(f"{key}: {error}") from None


def _encoded(record: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"format": FIRST_WITH_FORMATS, **record})
