"""A plain PostgreSQL server with a superuser: what somebody may have before they move to a cluster."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import conninfo

from cenote.host import programs
from tests.support.folders import server_folder
from tests.support.ports import free_range
from tests.support.service import tried
from tests.support.waiting import wait_until

PASSWORD = "the superuser's own"


@dataclass(slots=True)
class PlainPostgres:
    """``superuser`` owns the server; its password is ``PASSWORD``."""

    folder: Path
    port: int
    superuser: str
    argv: tuple[str, ...]
    process: subprocess.Popen[bytes]

    def uri(
        self, database: str = "postgres", user: str | None = None, password: str | None = PASSWORD
    ) -> str:
        return conninfo.make_conninfo(
            host="127.0.0.1",
            port=self.port,
            user=user or self.superuser,
            dbname=database,
            password=password,
        )

    def run(self, script: str, database: str = "postgres") -> None:
        """Run SQL as the superuser, several statements at once."""
        with psycopg.connect(self.uri(database), autocommit=True) as connection:
            connection.execute(script.encode())

    @contextmanager
    def as_standby(self) -> Iterator[None]:
        """Stop the server, and have it run as a standby that follows none."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=60)
        (self.folder / "source" / "standby.signal").touch()
        self.start()
        try:
            yield
        finally:
            self.kill()

    def kill(self) -> None:
        """End the server at once, with all its connections."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(timeout=60)

    def start(self) -> None:
        """Start the server again, with the same data and on the same port."""
        self.process = _started(self.argv, self.folder)
        wait_until("the plain server answers", 60, lambda: tried(self.uri()))


@contextmanager
def plain_postgres(
    superuser: str = "postgres", binaries: Path | None = None, **settings: Any
) -> Iterator[PlainPostgres]:
    """A running server, with password logins on loopback; it is stopped and removed at the end.

    It is of the newest version of this machine, or of the programs in ``binaries``.
    """
    binaries = binaries or list(programs.find().postgres.values())[-1].bin
    account = {"user": pwd.getpwnam("postgres").pw_name} if os.geteuid() == 0 else {}
    with server_folder() as folder:
        data, secret = folder / "source", folder / "password"
        secret.write_text(PASSWORD)
        if account:
            os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
            os.chown(secret, pwd.getpwnam("postgres").pw_uid, -1)
        subprocess.run(
            [
                *(
                    binaries / "initdb",
                    "--pgdata",
                    data,
                    "--username",
                    superuser,
                    "--auth",
                    "scram-sha-256",
                ),
                *("--pwfile", secret, "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"),
            ],
            check=True,
            capture_output=True,
            cwd="/",
            timeout=120,
            **account,  # type: ignore[call-overload]
        )
        port = free_range(1)
        options = {
            "port": port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "shared_preload_libraries": "pg_stat_statements",
            "max_connections": 40,
            "wal_level": "logical",
            **settings,
        }
        given = (f"-c{name}={value}" for name, value in options.items())
        argv = (str(binaries / "postgres"), "-D", str(data), *given)
        (folder / "source.log").touch()
        process = _started(argv, folder)
        started = PlainPostgres(folder, port, superuser, argv, process)
        try:
            wait_until("the plain server answers", 60, lambda: tried(started.uri()))
            yield started
        finally:
            started.kill()


def _started(argv: tuple[str, ...], folder: Path) -> subprocess.Popen[bytes]:
    account = pwd.getpwnam("postgres").pw_name if os.geteuid() == 0 else None
    with (folder / "source.log").open("ab") as log:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", user=account)
