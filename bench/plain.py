"""Floors: a PostgreSQL and a PgBouncer started without Cenote."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cenote.host import programs
from cenote.model.paths import Layout
from tests.support.folders import server_folder
from tests.support.ports import free_range
from tests.support.service import Service, tried
from tests.support.waiting import wait_until

# Settings that depend on the location of a cluster.
_PLACED = re.compile(r"(port|cluster_name|listen_addresses|unix_socket_\w+|ssl\w*) = ")


def binaries() -> Path:
    """Return the PostgreSQL of new clusters: the newest that is installed."""
    found = programs.find().postgres
    return found[max(found, key=int)].bin


def as_server_user() -> dict[str, Any]:
    """Return ``subprocess`` arguments to run as the servers' account, since PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam("postgres")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def give(path: Path) -> None:
    """Change the owner of a file or directory to the servers' account."""
    account = as_server_user()
    if account:
        os.chown(path, account["user"], account["group"])


class PlainServer:
    """PostgreSQL, started by ``pg_ctl`` on a copy of a data directory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_range(2)
        self.data = folder / "data"

    def copy(self, source: Path) -> None:
        """Copy a data directory here, without a sync, which the copy for a real cluster includes."""
        subprocess.run(["cp", "--archive", "--reflink=auto", source, self.data], check=True)

    def flush(self) -> None:
        """Sync the copy to disk."""
        subprocess.run(["sync", "--file-system", self.data], check=True)

    def start(self) -> None:
        """``pg_ctl -w start``."""
        self._control("start", "-w", "-o", f"-p {self._port} -k {self._folder}", "-l", "log")

    def answer(self) -> None:
        """Run a query over the unix socket."""
        subprocess.run(
            ["psql", "-qX", "-h", self._folder, "-p", str(self._port), "-c", "SELECT 42", "postgres"],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            check=True,
            **as_server_user(),
        )

    def stop(self) -> None:
        self._control("stop", "-w", "-m", "immediate")

    def _control(self, *arguments: str) -> None:
        subprocess.run(
            [binaries() / "pg_ctl", "-s", "-D", self.data, *arguments],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            check=True,
            **as_server_user(),
        )


@contextlib.contextmanager
def plain_server() -> Iterator[PlainServer]:
    """Yield a plain server, stopped and removed at the end; the caller copies and starts it."""
    with server_folder(on_disk=True) as folder:
        give(folder)
        server = PlainServer(folder)
        try:
            yield server
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):
                server.stop()


def template_of(service: Service, cluster: Any, target: Path) -> Path:
    """Copy the service's template, with a cluster's settings except for those of its location."""
    layout = Layout(service.data_dir)
    [source] = [path for path in layout.templates.iterdir() if re.fullmatch(r"\w+", path.name)]
    subprocess.run(["cp", "--archive", source, target], check=True)
    for path in (target, *target.rglob("*")):
        give(path)
    settings = (layout.clusters / cluster["id"] / "pg" / "postgresql.conf").read_text().splitlines()
    kept = [line for line in settings if not _PLACED.match(line)]
    (target / "postgresql.conf").write_text("\n".join(kept) + "\n")
    subprocess.run(["sync", "--file-system", target], check=True)
    return target


class PlainPooler:
    """PgBouncer with a configuration written by hand."""

    def __init__(self, folder: Path, certificate: Path, database: str, auth_file: str) -> None:
        """``database`` is the right side of a line in ``[databases]``, named ``bench``."""
        self.port = free_range(2)
        self._folder = folder
        pem = folder / "server.pem"
        shutil.copy(certificate, pem)
        (folder / "userlist.txt").write_text(auth_file)
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\nbench = {database}\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {folder}/userlist.txt\n"
            f"client_tls_sslmode = require\nclient_tls_cert_file = {pem}\nclient_tls_key_file = {pem}\n"
            f"max_client_conn = 1000\nmax_prepared_statements = 200\n"
            f"log_connections = 0\nlog_disconnections = 0\n"
        )
        for path in folder.iterdir():
            give(path)
            path.chmod(0o600)

    def connection(self, login: Any) -> Any:
        """Return the connection details, as in the API, for the user of another connection."""
        user, password = login["user"], login["password"]
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "database": "bench",
            "user": user,
            "password": password,
            "uri": f"postgres://{user}:{password}@127.0.0.1:{self.port}/bench?sslmode=require",
        }

    @contextlib.contextmanager
    def running(self) -> Iterator[int]:
        """Run PgBouncer; yields its pid."""
        program = programs.find().pgbouncer
        assert program is not None
        with (self._folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [program.path, self._folder / "pgbouncer.ini"],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # As in Cenote: the scheduler divides CPU time by session (autogroup, sched(7)).
                start_new_session=True,
                **as_server_user(),
            )
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(timeout=30)


@contextlib.contextmanager
def plain_pooler(certificate: Path, database: str, auth_file: str, login: Any) -> Iterator[tuple[Any, int]]:
    """Run a PgBouncer with this certificate; yields the connection for ``login``, and its pid."""
    with server_folder(on_disk=True) as folder:
        give(folder)
        pooler = PlainPooler(folder, certificate, database, auth_file)
        with pooler.running() as pid:
            connection = pooler.connection(login)
            wait_until("the pooler by hand answers", 20, lambda: tried(connection["uri"]))
            yield connection, pid
