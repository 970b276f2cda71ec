"""Settings of a server that replays WAL into restored data, and the script that fetches the WAL.

Nobody can connect to it but its own service: it listens on no port, its sockets have a folder of their own,
and its files for client authentication are not those of the data.  The settings that came with the data do
not count, so all that matters here is given on its command line, which overrides ``postgresql.auto.conf``,
too.  It archives nothing.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from cenote.conf.hba import SUPERUSER
from cenote.conf.quoting import hba_token

PORT = 1  # names the socket only, and is short
ERROR = 255  # of the script: recovery ends with it, whereas a lesser code means the end of the archive
_MAP = "cenote"
_TARGETS = ("recovery_target", "recovery_target_name", "recovery_target_xid", "recovery_target_lsn")
_LEAST = {
    "max_connections": 20,
    "max_worker_processes": 8,
    "max_wal_senders": 10,
    "max_prepared_transactions": 0,
    "max_locks_per_transaction": 64,
}


def settings(
    *,
    configuration: Path,
    hba: Path,
    ident: Path,
    sockets: Path,
    least: Mapping[str, int],
    fetch: Path | None = None,
    target: datetime | None = None,
) -> dict[str, str]:
    """Return the settings; ``fetch`` is the script of the archive, None where all WAL is with the data.

    ``least`` is what the server that wrote the WAL had.  ``target`` is the moment before which all that was
    committed is replayed, and nothing else.
    """
    return {
        "config_file": str(configuration),
        "hba_file": str(hba),
        "ident_file": str(ident),
        "external_pid_file": "",
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": str(sockets),
        "unix_socket_permissions": "0700",
        "ssl": "off",
        "cluster_name": "",
        **{name: str(max(value, least.get(name, 0))) for name, value in _LEAST.items()},
        "shared_buffers": "128MB",
        "wal_level": "logical",
        "archive_mode": "off",
        # It takes clients when it is done; so the settings above need not grow meanwhile.
        "hot_standby": "off",
        "primary_conninfo": "",
        "primary_slot_name": "",
        "synchronous_standby_names": "",
        "restore_command": "" if fetch is None else _command(fetch),
        "archive_cleanup_command": "",
        "recovery_end_command": "",
        **dict.fromkeys(_TARGETS, ""),
        "recovery_target_time": "" if target is None else f"{target.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f+00}",
        "recovery_target_inclusive": "off",  # what is committed at that very moment is not before it
        "recovery_target_timeline": "latest",
        "recovery_target_action": "promote",
        "restart_after_crash": "off",
        **dict.fromkeys(
            ("shared_preload_libraries", "session_preload_libraries", "local_preload_libraries"), ""
        ),
        "max_logical_replication_workers": "0",  # its subscriptions are those of another server, too
        "autovacuum": "off",
        "default_transaction_read_only": "off",
        "logging_collector": "off",
        "log_destination": "stderr",
        "log_min_messages": "log",
        "log_line_prefix": "%m [%p] ",
        "log_timezone": "UTC",
        "timezone": "UTC",
        "lc_messages": "C",
        "log_statement": "none",
        "log_min_duration_statement": "-1",
        "log_checkpoints": "off",
    }


def arguments(values: Mapping[str, str]) -> tuple[str, ...]:
    """Return the settings as arguments of the program ``postgres``."""
    return tuple(part for name, value in values.items() for part in ("-c", f"{name}={value}"))


def _command(script: Path) -> str:
    return f"{shlex.quote(str(script)).replace('%', '%%')} %f %p"


def fetch_script(program: Path, configuration: Path, stanza: str) -> str:
    """Render the script with which PostgreSQL fetches a file of the archive.

    PostgreSQL takes nearly every failure for the end of the archive.  So all but a file that is not there is
    told by a code that ends it.
    """
    command = shlex.join([str(program), f"--config={configuration}", f"--stanza={stanza}"])
    return _FETCH.format(command=command, error=ERROR)


_FETCH = """\
#!/bin/sh
# Written by Cenote; changes made here are undone.
umask 077
{command} archive-get "$1" "$2"
code=$?
case $code in 0 | 1) exit $code ;; esac
exit {error}
"""


def hba() -> str:
    """Render ``pg_hba.conf``: only by the unix socket, and only the superuser."""
    return f"local  all  {SUPERUSER}  peer map={_MAP}\n"


def ident(service_user: str, server_user: str) -> str:
    """Render ``pg_ident.conf``: the service and the servers' account are the superuser."""
    return "".join(
        f"{_MAP}  {hba_token(user)}  {hba_token(SUPERUSER)}\n" for user in sorted({service_user, server_user})
    )
