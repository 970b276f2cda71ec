"""``cenote service``: the service itself as one encrypted file, and a new one from it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from cenote.cli import passphrase
from cenote.cli.data_dir import absolute, data_dir
from cenote.cli.printer import CommandError, Printer, note, output_options
from cenote.errors import CenoteError, Misconfigured
from cenote.host import programs
from cenote.model.paths import Layout
from cenote.model.service_backup import ServiceBackup
from cenote.security import backup_file
from cenote.server import installation, service_backup, service_copies, service_restore, service_summary
from cenote.server.backup_settings import BackupSettings
from cenote.server.service_repository import ServiceRepository
from cenote.server.settings import ServeSettings

MOST_BYTES = backup_file.MOST_BYTES + (1 << 16)
COLUMNS = {
    "MADE": "made_at",
    "BY CENOTE": "cenote_version",
    "STORE": "store",
    "HOST": "host",
    "HOSTS": "hosts",
    "CLUSTERS": "clusters",
    "TOKENS": "tokens",
    "RECORDS": "records",
}

_file = click.argument("file", metavar="FILE", type=click.Path(path_type=Path))


@click.group()
def command() -> None:
    """Back up, inspect and restore the service: records, CA and keys.

    The file has no data of databases.  It is encrypted with a passphrase, without which it is of no use.
    """


@command.command()
@_file
@passphrase.file_option
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option(
    "--etcd-prefix", metavar="PREFIX", default="/cenote/", show_default=True, help="Prefix of keys in etcd."
)
@data_dir
@output_options
def backup(
    layout: Layout, printer: Printer, file: Path, passphrase_file: Path | None, force: bool, etcd_prefix: str
) -> None:
    """Write records, CA and keys of the service to an encrypted FILE.

    On a host with the role api, while the service runs or not.  Databases and clients notice nothing.
    """
    target = _target(file, force=force)
    secret = passphrase.of(passphrase_file, twice=True)
    with _in_words(layout):
        made = asyncio.run(service_backup.write(layout, etcd_prefix, target, secret))
    summary = _summary(file, made)
    number = len(summary["clusters"])
    printer.done(
        f"The service, with {number} cluster{'s' * (number != 1)}, is in {file}; its databases' data are not",
        summary,
        COLUMNS,
    )


@command.command()
@_file
@passphrase.file_option
@output_options
def show(printer: Printer, file: Path, passphrase_file: Path | None) -> None:
    """Decrypt a backup of the service, check it, and show what is in it."""
    printer.show(_summary(file, _read(file, passphrase_file)), COLUMNS)


@command.command()
@click.argument("file", metavar="[FILE]", type=click.Path(path_type=Path), required=False)
@click.option("--backups", "url", metavar="URL", help="Take the newest in this repository in place of FILE.")
@click.option(
    "--backups-credentials",
    "credentials",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File with the credentials of the repository.",
)
@passphrase.file_option
@data_dir
@output_options
def restore(
    layout: Layout,
    printer: Printer,
    file: Path | None,
    url: str | None,
    credentials: Path | None,
    passphrase_file: Path | None,
) -> None:
    """Restore the service from FILE into a data directory without one; then start 'cenote serve'.

    Ids, names, ports, passwords, tokens and CA are those of the backup.  The data of the databases are not in
    it: put clusters/ of the former data directory, copied while all was stopped, into the new one, or recover
    them from their backups.
    """
    if (file is None) == (url is None):
        raise click.UsageError("give a FILE, or --backups")
    with _in_words(layout):
        service_restore.check_place(layout)
    if file is None:
        settings = BackupSettings(url or "", credentials)
        file, content = asyncio.run(_newest(settings))
        made = _opened(file, content, passphrase_file)
    else:
        made = _read(file, passphrase_file)
    with _in_words(layout):
        asyncio.run(service_restore.restore(layout, made))
    summary = _summary(file, made)
    printer.done(
        f"The service of {summary['made_at']} is in {layout.data_dir}, as host {summary['host']}",
        summary,
        COLUMNS,
    )
    if printer.prose:
        note("Start it with 'cenote serve'; it must not run anywhere else")
        if url is not None or any(cluster for cluster in summary["clusters"]):
            note("Clusters whose data are not there any more: 'cenote cluster recover --all', with --backups")


def _target(file: Path, *, force: bool) -> Path:
    """Return where to write; a link in the way to it is followed now, one in its place is replaced."""
    path = absolute(file)
    try:
        folder = path.parent.resolve(strict=True)
    except OSError as error:
        raise Misconfigured(f"{file} cannot be written: {path.parent}: {error.strerror}") from None
    if path.is_dir():
        raise CommandError(f"{file} is a directory; give the name of a file in it")
    if os.path.lexists(path) and not force:
        raise CommandError(f"{file} exists; give another name, or --force to replace it")
    return folder / path.name


def _read(file: Path, passphrase_file: Path | None) -> ServiceBackup:
    """Return what is in a backup; what can be said without the passphrase is said before it is asked for."""
    return _opened(file, _content(file), passphrase_file)


async def _newest(settings: BackupSettings) -> tuple[Path, bytes]:
    """Return the newest backup in a repository, of whichever host, and its name."""
    if settings.repository is None:
        raise CommandError("--backups must name a repository")
    found, account = programs.find(), installation.server_account(ServeSettings())
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)  # noqa: S103 - the servers' account passes through
        repository = ServiceRepository(settings, found, account, Path(folder) / "work")
        try:
            name = service_copies.newest_of_all(await repository.names(), datetime.now(UTC))
            if name is None:
                raise CommandError(f"there is no backup of a service in {repository.in_words}")
            return Path(name), await repository.read(name)
        except (CenoteError, OSError) as error:
            raise CommandError(f"{repository.in_words} cannot be read: {error}") from None


def _opened(file: Path, content: bytes, passphrase_file: Path | None) -> ServiceBackup:
    with _naming(file):
        backup_file.header_of(content)
    secret = passphrase.of(passphrase_file)
    with _naming(file):
        return service_restore.unpacked(backup_file.decrypted(content, secret))


@contextlib.contextmanager
def _in_words(layout: Layout) -> Iterator[None]:
    """Turn what the system refuses in the data directory, such as for lack of room, into Misconfigured."""
    try:
        yield
    except OSError as error:
        raise Misconfigured(f"{error.filename or layout.data_dir} cannot be used: {error.strerror}") from None


@contextlib.contextmanager
def _naming(file: Path) -> Iterator[None]:
    try:
        yield
    except Misconfigured as error:
        raise Misconfigured(f"{file}: {error.message}") from None


def _content(file: Path) -> bytes:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Misconfigured(f"{file} cannot be read: {error.strerror}") from None
    with open(descriptor, "rb") as opened:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise Misconfigured(f"{file} is not a regular file")
        if about.st_size > MOST_BYTES:
            raise Misconfigured(f"{file} is too large to be the backup of a service")
        return opened.read()


def _summary(file: Path, made: ServiceBackup) -> dict[str, Any]:
    try:
        return {"file": str(file), **service_summary.of(made)}
    except msgspec.DecodeError as error:
        raise Misconfigured(f"{file}: a record in the backup cannot be read: {error}") from None
