"""No secret of backups can be seen by another account: not in a process list, not in a file.

The lists are sampled every 10 ms while WAL is pushed, backups are made and one is restored.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from cenote.server import installation
from cenote.server.settings import ServeSettings
from tests.support import process_table
from tests.support.backups import SECONDS, Kept, as_servers
from tests.support.folders import server_folder
from tests.support.pgbackrest import FOUND, NEEDS_PGBACKREST, version
from tests.support.s3_server import s3_server
from tests.support.service import online_cluster, service
from tests.support.waiting import wait_until

pytestmark = NEEDS_PGBACKREST
EVERY = 0.01


@dataclass
class Sampler:
    """Looks at all processes; ``commands`` are those of pgBackRest that were seen, ``found`` the secrets."""

    secrets: tuple[bytes, ...]
    samples: int = 0
    commands: set[str] = field(default_factory=set)
    found: list[bytes] = field(default_factory=list)
    environments: int = 0

    def look(self) -> None:
        self.samples += 1
        for pid, line in process_table.files("cmdline"):
            self._judge(line)
            if b"pgbackrest" not in line:
                continue
            self.commands |= {
                word
                for word in ("archive-push", "backup", "restore", "info", "stanza-create")
                if word.encode() in line.split(b"\0")
            }
            # What the account of the servers can read there, a customer who breaks out of one can, too.
            for _, environment in process_table.files("environ", [pid]):
                self.environments += bool(environment)
                self._judge(environment)

    def _judge(self, text: bytes) -> None:
        self.found += [text for secret in self.secrets if secret in text]


@contextlib.contextmanager
def sampling(*secrets: str) -> Iterator[Sampler]:
    sampler, ended = Sampler(tuple(secret.encode() for secret in secrets)), threading.Event()

    def run() -> None:
        while not ended.is_set():
            began = time.monotonic()
            sampler.look()
            ended.wait(max(0.0, EVERY - (time.monotonic() - began)))

    thread = threading.Thread(target=run, name="sampler")
    thread.start()
    try:
        yield sampler
    finally:
        ended.set()
        thread.join()


def readable_by_all(folder: Path) -> Iterator[Path]:
    """Return the files that an account with no rights of its own could open."""
    for path in folder.iterdir():
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode) and mode & stat.S_IXOTH:
            yield from readable_by_all(path)
        elif stat.S_ISREG(mode) and mode & stat.S_IROTH:
            yield path


def test_no_secret_is_in_a_process_list_or_a_file_that_others_read() -> None:
    with server_folder() as folder, server_folder() as own, s3_server(folder) as s3:
        url = f"--backups={s3.url('prefix')}"
        hidden = secrets.token_hex(20)
        with (
            service(url, f"--backups-credentials={s3.credentials(secret=hidden)}", clusters=2) as running,
            running.client() as client,
        ):
            cluster: Any = online_cluster(client, "one", version=version())
            kept = Kept(running, s3.bucket / "prefix", client, cluster)
            wait_until("it is configured", SECONDS, kept.paths.backup_configuration.exists)
            text = kept.paths.backup_configuration.read_text()
            [passphrase] = [
                line.partition("=")[2] for line in text.splitlines() if line.startswith("repo1-cipher-pass=")
            ]
            assert f"repo1-s3-key-secret={hidden}" in text
            with sampling(passphrase, hidden) as sampler:
                wait_until("it is backed up", SECONDS, kept.backups)
                with psycopg.connect(kept.uri, autocommit=True) as connection:
                    connection.execute("CREATE TABLE parts AS SELECT generate_series(1, 100000)")
                segment = kept.switch()
                wait_until("WAL is archived", SECONDS, lambda: any(s3.bucket.glob(f"**/{segment}-*")))
                client.databases.create_backup(kept.id)
                wait_until("it is backed up again", SECONDS, lambda: len(kept.types()) == 2)
                _restore(kept, own / "restored")
            assert sampler.found == []
            assert sampler.commands >= {"archive-push", "backup", "restore"}
            assert sampler.environments > 0
            leaked = [
                path
                for place in (running.data_dir, own)
                for path in readable_by_all(place)
                if any(secret.encode() in path.read_bytes() for secret in (passphrase, hidden))
            ]
            assert leaked == []
            assert passphrase not in running.log()
            print(f"{sampler.samples} samples, {sampler.environments} environments of pgBackRest")


def _restore(kept: Kept, data: Path) -> None:
    account = installation.server_account(ServeSettings())
    if account.owner is not None:
        os.chown(data.parent, *account.owner)
    assert FOUND.pgbackrest is not None
    done = as_servers(
        *(FOUND.pgbackrest.path, f"--config={kept.paths.backup_configuration}", f"--stanza={kept.id}"),
        *(f"--pg1-path={data}", "--archive-mode=off", "restore"),
    )
    assert done.returncode == 0, done.stderr
