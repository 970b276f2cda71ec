"""The backups of the service that a host makes by itself, and the former ones that it removes.

One is made each day, and within an hour after the record of a cluster has changed; of each day the newest is
kept, so that a busy day does not push out the days before.

Each host that is told to makes its own, since a backup is restored as the host that has made it.  Files of
other hosts in the same folder are left alone: a name has the id of its host.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cenote.errors import CenoteError, Misconfigured
from cenote.host import files, service_copy
from cenote.host.identity import Identity
from cenote.model.fleet_records import ServiceCopy
from cenote.model.paths import Layout
from cenote.model.timing import Timing
from cenote.server import passphrase_file, service_backup
from cenote.server.settings import ServiceCopySettings

log = logging.getLogger(__name__)

AHEAD = timedelta(minutes=5)  # a file that is further ahead is of a clock that was wrong

_TIME = "%Y%m%dT%H%M%SZ"
_UNFINISHED = re.compile(r"\.(.+\.cenote)\.[0-9a-f]{8}")  # as ``files.write`` names it
_SAFE = re.compile(r"[^A-Za-z0-9._-]")


class ServiceCopies:
    """Makes the backups of one host; ``state`` is how the last attempt ended, None without settings."""

    def __init__(
        self,
        layout: Layout,
        settings: ServiceCopySettings | None,
        host: Identity,
        prefix: str,
        timing: Timing,
        records: Callable[[], int],
    ) -> None:
        """``records`` returns a number that changes when the record of a cluster does."""
        self._layout, self._settings, self._host = layout, settings, host
        self._prefix, self._timing = prefix, timing
        self._records, self._copied = records, 0  # of the last backup that this process has made
        self.state: ServiceCopy | None = None if settings is None else ServiceCopy()

    async def run(self, begin: asyncio.Event) -> None:
        """Make a backup whenever the newest is too old, until cancelled, once the host is in the records."""
        if self._settings is None:
            with contextlib.suppress(OSError):
                service_copy.write(self._layout, None)
            return
        await begin.wait()
        retry_at = 0.0
        while True:
            if time.monotonic() >= retry_at and not await self._attempt(self._settings):
                retry_at = time.monotonic() + self._timing.service_copy_retry
            await asyncio.sleep(self._timing.service_copy_look)

    async def _attempt(self, settings: ServiceCopySettings) -> bool:
        """Make a backup if one is due; False if it failed, which is told once."""
        newest, problem = None, ""
        try:
            # In threads, since the folder may be on a disk of another machine that does not answer.
            names = await asyncio.to_thread(_names, settings.folder)
            await asyncio.to_thread(_remove, settings.folder, cut_off(names, self._host))
            now = datetime.now(UTC)
            newest = newest_of(names, self._host, now)
            records, timing = self._records(), self._timing
            changed = records != self._copied
            age = timedelta(seconds=timing.service_copy_age_changed if changed else timing.service_copy_age)
            if is_due(newest, now, age):
                newest = await self._make(settings)
                self._copied = records
                names = await asyncio.to_thread(_names, settings.folder)
            await asyncio.to_thread(_remove, settings.folder, surplus(names, self._host, settings.kept, now))
        except (CenoteError, OSError) as error:
            problem = f"no backup of the service could be made in {settings.folder}: {_in_words(error)}"
        except Exception as error:  # it must not end the work on the clusters
            log.exception("a defect in Cenote")
            problem = f"no backup of the service could be made: a defect in Cenote, {type(error).__name__}"
        self._tell(ServiceCopy(at=newest, problem=problem))
        return not problem

    async def _make(self, settings: ServiceCopySettings) -> datetime:
        secret = await asyncio.to_thread(passphrase_file.read, settings.passphrase_file)
        at = datetime.now(UTC).replace(microsecond=0)
        target = settings.folder / name_of(self._host, at)
        await service_backup.write(self._layout, self._prefix, target, secret)
        log.info("the service is backed up in %s", target)
        return at

    def _tell(self, state: ServiceCopy) -> None:
        if state.problem and (self.state is None or state.problem != self.state.problem):
            log.error("%s", state.problem)
        if state != self.state:
            self.state = state
            with contextlib.suppress(OSError):
                service_copy.write(self._layout, state)


def name_of(host: Identity, at: datetime) -> str:
    return f"{_prefix_of(host)}{at.strftime(_TIME)}.cenote"


def newest_of(names: Iterable[str], host: Identity, now: datetime) -> datetime | None:
    """Return when the newest backup of a host was made, as its name says; None without one.

    One that is of the future, by a clock that was wrong, says nothing of that, here and below.
    """
    return max((at for at, _ in _backups(names, host, now)), default=None)


def is_due(newest: datetime | None, now: datetime, age: timedelta) -> bool:
    return newest is None or now - newest >= age


def surplus(names: Iterable[str], host: Identity, kept: int, now: datetime) -> list[str]:
    """Return the names of a host's backups but for the newest of each of its last ``kept`` days."""
    own = _backups(names, host, now)
    newest_of_days = {at.date(): name for at, name in own}
    kept_names = set(list(newest_of_days.values())[-kept:])
    return [name for _, name in own if name not in kept_names]


def cut_off(names: Iterable[str], host: Identity) -> list[str]:
    """Return the names of a host's backups that were cut off while they were written.

    There is one writer of these, and it writes none now.
    """
    found = ((name, _UNFINISHED.fullmatch(name)) for name in names)
    return [name for name, match in found if match is not None and _time_of(match[1], host) is not None]


def _backups(names: Iterable[str], host: Identity, now: datetime) -> list[tuple[datetime, str]]:
    """Return times and names of a host's backups, the oldest first, without those of the future."""
    own = ((_time_of(name, host), name) for name in names)
    return sorted((at, name) for at, name in own if at is not None and at - now <= AHEAD)


def _prefix_of(host: Identity) -> str:
    return f"service-{_SAFE.sub('_', host.name)[:64]}-{host.id.hex[:8]}-"


def _time_of(name: str, host: Identity) -> datetime | None:
    """Return the time in the name of a backup, also from when the host had another name."""
    head, dash, tail = name.removesuffix(".cenote").rpartition("-")
    if not (dash and name.endswith(".cenote") and head.startswith("service-")):
        return None
    if not head.endswith(f"-{host.id.hex[:8]}"):
        return None
    try:
        return datetime.strptime(tail, _TIME).replace(tzinfo=UTC)
    except ValueError:
        return None


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise Misconfigured("this directory does not exist; is its disk mounted?")
    return files.names(folder)


def _remove(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(folder / name)


def _in_words(error: CenoteError | OSError) -> str:
    return error.message if isinstance(error, CenoteError) else error.strerror or str(error)
