"""Connection strings of libpq, as PostgreSQL's settings and programs take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cenote.conf.hba import SUPERUSER
from cenote.conf.quoting import conninfo_value

NO_PASSFILE = "/nonexistent"  # whatever answers could ask for a password, and no file is to give it one
_KEEPALIVES = {"keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3"}


def render(values: Mapping[str, str]) -> str:
    """Render a connection string; libpq reads spaces, quotes and backslashes in a value only if quoted."""
    return " ".join(f"{key}={conninfo_value(value)}" for key, value in values.items())


def for_copy(values: Mapping[str, str]) -> dict[str, str]:
    """Return how a copy of a server's data is made there, whatever its limit of temporary files is.

    The server keeps the list of what it has sent in one.
    """
    return {**values, "options": "-c temp_file_limit=-1"}


def of_own(sockets: Path, port: int) -> dict[str, str]:
    """Return how the servers' account reaches a server of this host as the superuser."""
    return {"host": str(sockets), "port": str(port), "user": SUPERUSER, "passfile": NO_PASSFILE}


def of_node(address: str, port: int, certificate: Path, name: str) -> dict[str, str]:
    """Return how a node reaches another one of its cluster: by certificates of the cluster's CA.

    ``certificate`` is the file with its key, its certificate and that of the CA.  The connection is for
    replication; as ``name`` it is seen on the other server.
    """
    return _of_servers([(address, port)], certificate, name)


def of_source(places: Sequence[tuple[str, int]], certificate: Path, name: str) -> dict[str, str]:
    """Return how a read replica reaches that server of its source, of several, that takes writes.

    Not by whether it takes them now (``read-write``): it does not while its storage is nearly full.
    """
    return _of_servers(places, certificate, name) | {"target_session_attrs": "primary"}


def _of_servers(places: Sequence[tuple[str, int]], certificate: Path, name: str) -> dict[str, str]:
    return {
        "host": ",".join(address for address, _ in places),
        "port": ",".join(str(port) for _, port in places),
        "user": SUPERUSER,
        "sslmode": "verify-ca",
        "sslcert": str(certificate),
        "sslkey": str(certificate),
        "sslrootcert": str(certificate),
        "passfile": NO_PASSFILE,
        "connect_timeout": "5",
        "application_name": name,
        **_KEEPALIVES,
    }
