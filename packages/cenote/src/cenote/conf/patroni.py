"""Patroni's configuration: what it reads from a file of the node, and what it keeps in the store for all.

PostgreSQL's settings stay in our own file, which that of Patroni includes; ``pg_hba.conf`` and
``pg_ident.conf`` stay ours, too.  What Patroni gives PostgreSQL on the command line can stand in the store
alone, and its defaults there would restart every server, with ``wal_level`` lowered.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cenote.conf.hba import SUPERUSER
from cenote.model.record import Secret

SOCKET_HOST = "127.0.0.255"  # what the launcher (host/patroni_launcher) has stand for a unix socket
LOOP_WAIT, RETRY_TIMEOUT = 1, 3  # seconds; Patroni wants a ttl of at least LOOP_WAIT + 2 * RETRY_TIMEOUT
LOG_BYTES, LOG_FILES = 4 << 20, 2  # of Patroni's own log, which it limits by itself

# What Patroni gives PostgreSQL on its command line, with PostgreSQL's own defaults.
ON_COMMAND_LINE = {
    "wal_level": "replica",
    "hot_standby": "on",
    "max_connections": "100",
    "max_wal_senders": "10",
    "max_prepared_transactions": "0",
    "max_locks_per_transaction": "64",
    "track_commit_timestamp": "off",
    "max_replication_slots": "10",
    "max_worker_processes": "8",
    "wal_log_hints": "off",
}
_WAL_KEPT = "128MB"  # for a standby that is just being made and has no slot yet


@dataclass(frozen=True, slots=True)
class Login:
    """How Patroni reaches the store, as a user of the cluster's: by a unix socket, or by TLS at URLs.

    For TLS there is the file with the certificate for it and that of the CA.
    """

    socket: Path | None = None
    urls: tuple[str, ...] = ()
    certificate: Path | None = None
    username: str = ""
    password: Secret | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Member:
    """One node: ``address`` is where others reach it, ``listen`` where its server listens.

    ``folder`` is Patroni's own, ``settings`` our file of PostgreSQL's settings, ``certificate`` the file with
    a key, its certificate and that of the cluster's CA.
    """

    scope: str
    name: str
    address: str
    listen: tuple[str, ...]
    port: int
    folder: Path
    data: Path
    binaries: Path
    settings: Path
    sockets: Path
    certificate: Path


def render(member: Member, namespace: str, login: Login, shared: Mapping[str, Any]) -> bytes:
    """Render the node's own file; ``shared`` is what the first node of a cluster brings into the store."""
    return _encode(
        {
            "cenote": {
                "socket": "" if login.socket is None else str(login.socket),
                "socket_host": SOCKET_HOST,
                "rest_address": member.address,
            },
            "scope": member.scope,
            "namespace": namespace,
            "name": member.name,
            "log": {
                "level": "INFO",
                "dir": str(member.folder),
                "file_size": LOG_BYTES,
                "file_num": LOG_FILES,
                "mode": "0600",
            },
            "restapi": _rest(member.certificate),
            "ctl": {
                "certfile": str(member.certificate),
                "keyfile": str(member.certificate),
                "cacert": str(member.certificate),
                # Names are not compared: only the cluster's hosts have a certificate of its CA.
                "insecure": True,
            },
            "etcd3": _store(member, login),
            "bootstrap": {
                "dcs": dict(shared),
                # Data are made by us, or copied from another node, and never by Patroni.
                "method": "none",
                "none": {"command": "/bin/false"},
            },
            "postgresql": _postgresql(member),
            "watchdog": {"mode": "off"},
        }
    )


def shared(
    settings: Mapping[str, str], slots: Iterable[str] = (), *, seconds: int, synchronous: bool
) -> dict[str, Any]:
    """Return what stands in the store for all nodes; ``settings`` are all that our file has.

    ``slots`` are those of read replicas, which all nodes have, so that they outlive a failover.
    After ``seconds`` of silence a primary is replaced; ``synchronous``: each commit waits for a standby.
    """
    return {
        # After that the store notices the end of the lease, maybe having found a new leader of its own.
        "ttl": seconds - 3 * LOOP_WAIT,
        "loop_wait": LOOP_WAIT,
        "retry_timeout": RETRY_TIMEOUT,
        "synchronous_mode": "quorum" if synchronous else False,
        "failsafe_mode": True,
        "primary_start_timeout": 0,  # a dead primary is replaced, and not started again
        # Those are customers' own; Patroni would drop what it does not know.
        "ignore_slots": [{"type": "logical"}],
        **({"slots": {slot: {"type": "physical"} for slot in kept}} if (kept := sorted(slots)) else {}),
        "postgresql": {
            "use_pg_rewind": True,
            "use_slots": True,
            "parameters": on_command_line(settings) | {"wal_keep_size": _WAL_KEPT},
        },
    }


def on_command_line(settings: Mapping[str, str]) -> dict[str, str]:
    """Return what Patroni gives the server on its command line; ``settings`` are all that our file has."""
    return {name: settings.get(name, value) for name, value in ON_COMMAND_LINE.items()}


def encode_shared(shared: Mapping[str, Any]) -> bytes:
    return _encode(shared)


def is_same(found: bytes | None, shared: Mapping[str, Any]) -> bool:
    """Return whether the store has this configuration; whoever wrote it may order it differently."""
    try:
        return found is not None and json.loads(found) == dict(shared)
    except ValueError:
        return False


def _rest(certificate: Path) -> dict[str, Any]:
    # The launcher replaces the addresses.
    return {
        "listen": "127.0.0.1:0",
        "connect_address": "127.0.0.1:0",
        "certfile": str(certificate),
        "keyfile": str(certificate),
        "cafile": str(certificate),
        "verify_client": "required",
    }


def _store(member: Member, login: Login) -> dict[str, Any]:
    known: dict[str, Any] = {"host": f"{SOCKET_HOST}:2379", "protocol": "http", "use_proxies": True}
    if login.certificate is not None:  # the members tell Patroni which others there are
        known = {
            "hosts": [url.removeprefix("https://") for url in login.urls],
            "protocol": "https",
            "cacert": str(login.certificate),
            "cert": str(login.certificate),
            "key": str(member.certificate),
        }
    if login.password is None:
        return known
    return known | {"username": login.username, "password": login.password.reveal()}


def _postgresql(member: Member) -> dict[str, Any]:
    certificate = str(member.certificate)
    by_certificate = {
        "username": SUPERUSER,
        "sslmode": "verify-ca",
        "sslcert": certificate,
        "sslkey": certificate,
        "sslrootcert": certificate,
    }
    return {
        "listen": f"{','.join(member.listen)}:{member.port}",
        "connect_address": f"{_bracketed(member.address)}:{member.port}",
        "data_dir": str(member.data),
        "bin_dir": str(member.binaries),
        "custom_conf": str(member.settings),
        "pgpass": str(member.folder / "pgpass"),
        "use_unix_socket": True,
        "use_unix_socket_repl": True,
        "authentication": dict.fromkeys(("superuser", "replication", "rewind"), by_certificate),
        "parameters": {"unix_socket_directories": str(member.sockets)},
        # A node that cannot be rewound to where another one went on is copied anew.
        "remove_data_directory_on_rewind_failure": True,
        "remove_data_directory_on_diverged_timelines": True,
        "create_replica_methods": ["basebackup"],
        "basebackup": [{"checkpoint": "fast"}],
    }


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _encode(values: Mapping[str, Any]) -> bytes:
    """Encode as JSON, which is YAML, too."""
    return json.dumps(values, indent=1, sort_keys=True).encode() + b"\n"
