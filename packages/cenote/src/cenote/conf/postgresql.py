"""``postgresql.conf``, rendered from layers of settings."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from uuid import UUID

from cenote.conf.quoting import postgresql_value
from cenote.model import parameters
from cenote.model.records import Value

# Of these a server that follows another one must have at least as much.  The values are what PostgreSQL takes
# where nothing is set.  One that is set and then left out again needs a restart, even if it had this value.
FOLLOWED = {
    "max_connections": "100",
    "max_worker_processes": "8",
    "max_wal_senders": "10",
    "max_prepared_transactions": "0",
    "max_locks_per_transaction": "64",
}


def base_settings(version: str) -> dict[str, str]:
    """Return the settings common to all servers of a major version."""
    return {
        # The maximum of autovacuum_max_workers; workers beyond the slots would never start.
        **({"autovacuum_worker_slots": "20"} if int(version) >= 18 else {}),
        # A connection that says nothing takes a slot until then, and the slots are twice max_connections.
        "authentication_timeout": "10s",
        "password_encryption": "scram-sha-256",
        "ssl": "on",
        "ssl_min_protocol_version": "TLSv1.2",
        # Customers may use logical decoding, and enabling it later would take a restart.
        "wal_level": "logical",
        # Standbys, replicas and backups need these, and each would take a restart later.  The archive's
        # command is changed by a reload; this one lets each segment be recycled.
        "archive_mode": "always",
        "archive_command": "true",
        "wal_log_hints": "off",  # pg_rewind needs them or checksums, and all clusters have checksums
        "random_page_cost": "1.1",
        "dynamic_shared_memory_type": "posix",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "datestyle": "iso, mdy",
        "lc_messages": "C.UTF-8",
        "lc_monetary": "C.UTF-8",
        "lc_numeric": "C.UTF-8",
        "lc_time": "C.UTF-8",
        "default_text_search_config": "pg_catalog.english",
        "log_line_prefix": "%m [%p] %q[user=%u,db=%d,app=%a] ",
        "log_lock_waits": "on",
        # Who may replicate can copy the whole server; this leaves a trace of it.
        "log_replication_commands": "on",
        "log_min_duration_statement": "-1",
    }


def customer_settings(values: Mapping[str, Value], *, shared_buffers_mib: int) -> dict[str, str]:
    """Return the settings that the customer has set, by their names on the server."""
    settings = {
        parameters.POSTGRESQL[name].server_name: parameters.POSTGRESQL[name].write(value)
        for name, value in values.items()
    }
    if "shared_buffers" in settings:
        settings["shared_buffers"] = f"{shared_buffers_mib}MB"  # set as a percentage of the memory
    return settings


def preload_settings(libraries: Collection[str]) -> dict[str, str]:
    """Return ``shared_preload_libraries``, limited to the installed libraries."""
    return {"shared_preload_libraries": ",".join(parameters.libraries(libraries))}


def instance_settings(
    *, cluster_id: UUID, port: int, listen: tuple[str, ...], socket_directory: Path, certificate: Path
) -> dict[str, str]:
    """Return the settings specific to one server: name, addresses, paths."""
    return {
        "cluster_name": str(cluster_id),
        "port": str(port),
        "listen_addresses": ",".join(listen),
        "unix_socket_directories": str(socket_directory),
        "unix_socket_permissions": "0700",
        # One file holds the certificate and its key, so that a renewal replaces both atomically.
        "ssl_cert_file": str(certificate),
        "ssl_key_file": str(certificate),
    }


def settings_for_nodes(certificate: Path) -> dict[str, str]:
    """Return the settings by which other nodes can log in with certificates of the cluster's CA.

    Only while there are any: a server that asks for certificates refuses clients that show another CA's.
    """
    return {"ssl_ca_file": str(certificate)}


def standby_settings(primary: str, slot: str) -> dict[str, str]:
    """Return the settings of a server that follows another one, which ``primary`` says how to reach."""
    return {
        "primary_conninfo": primary,
        "primary_slot_name": slot,
        "wal_retrieve_retry_interval": "500ms",
        "wal_receiver_status_interval": "1s",
        "max_standby_streaming_delay": "1s",  # nobody's query is to hold it back
    }


def replica_settings(primary: str, slot: str) -> dict[str, str]:
    """Return the settings of a read replica; ``primary`` is "" while it is not known where its source is.

    Its queries may hold it back for PostgreSQL's own 30 seconds, as they are what it is for.
    """
    settings = standby_settings(primary, slot)
    del settings["max_standby_streaming_delay"]
    return settings


def non_durable_settings() -> dict[str, str]:
    """Return settings without durability, for servers whose data may be lost in a power failure."""
    return {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "archive_mode": "off"}


def at_least(least: Mapping[str, int], *layers: Mapping[str, str]) -> dict[str, str]:
    """Return a further layer, by which settings have no less than these values."""
    merged = FOLLOWED | _merged(layers)
    return {name: str(value) for name, value in least.items() if int(merged[name]) < value}


def render(*layers: Mapping[str, str]) -> str:
    """Render the file; later layers override earlier ones."""
    merged = _merged(layers)
    lines = [f"{key} = {postgresql_value(merged[key])}" for key in sorted(merged)]
    return "# Written by Cenote; changes made here are undone.\n" + "\n".join(lines) + "\n"


def merged(*layers: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of all layers; later ones override earlier ones."""
    return _merged(layers)


def _merged(layers: Iterable[Mapping[str, str]]) -> dict[str, str]:
    merged: dict[str, str] = {}
    for layer in layers:
        merged.update(layer)
    return merged
