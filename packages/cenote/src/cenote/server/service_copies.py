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
from typing import Protocol

from cenote.errors import CenoteError, Misconfigured
from cenote.host import files, service_copy
from cenote.host.identity import Identity
from cenote.model.fleet_records import ServiceCopy
from cenote.model.paths import Layout
from cenote.model.timing import Timing
from cenote.server import passphrase_file, service_backup
from cenote.server.service_repository import ServiceRepository
from cenote.server.settings import ServiceCopySettings

log = logging.getLogger(__name__)

AHEAD = timedelta(minutes=5)  # a file that is further ahead is of a clock that was wrong

_TIME = "%Y%m%dT%H%M%SZ"
# As ``files.write`` names it, and pgBackRest.
_UNFINISHED = re.compile(r"\.(.+\.cenote)\.[0-9a-f]{8}|(.+\.cenote)\.pgbackrest\.tmp")
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
        repository: ServiceRepository | None = None,
    ) -> None:
        """``records`` returns a number that changes when the record of a cluster does.

        ``repository`` is that of the clusters, where there is one.
        """
        self._layout, self._settings, self._host = layout, settings, host
        self._prefix, self._timing, self._records = prefix, timing, records
        places: list[Place] = []
        if settings is not None and settings.folder is not None:
            places.append(_Folder(settings.folder))
        if settings is not None and repository is not None:
            places.append(repository)
        self._copied = dict.fromkeys(places, 0)  # of the last backup that this process has put there
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
        """Make a backup where one is due; False if it failed anywhere, which is told once."""
        found = [await self._keep_in(place, settings) for place in self._copied]
        oldest = [at for at, _ in found]
        at = None if None in oldest else min(filter(None, oldest), default=None)
        problem = "; ".join(filter(None, (problem for _, problem in found)))
        self._tell(ServiceCopy(at=at, problem=problem))
        return not problem

    async def _keep_in(self, place: Place, settings: ServiceCopySettings) -> tuple[datetime | None, str]:
        """Make a backup in one place, if it is due; return when the newest was made, and what went wrong."""
        newest, problem = None, ""
        try:
            names = await place.names()
            await place.remove(cut_off(names, self._host))
            now = datetime.now(UTC)
            newest = newest_of(names, self._host, now)
            records, timing = self._records(), self._timing
            changed = records != self._copied[place]
            age = timedelta(seconds=timing.service_copy_age_changed if changed else timing.service_copy_age)
            if is_due(newest, now, age):
                newest = await self._make(place, settings)
                self._copied[place] = records
                names = await place.names()
            await place.remove(surplus(names, self._host, settings.kept, now))
        except (CenoteError, OSError) as error:
            problem = f"no backup of the service could be made in {place.in_words}: {_in_words(error)}"
        except Exception as error:  # it must not end the work on the clusters
            log.exception("a defect in Cenote")
            problem = f"no backup of the service could be made: a defect in Cenote, {type(error).__name__}"
        return newest, problem

    async def _make(self, place: Place, settings: ServiceCopySettings) -> datetime:
        secret = await asyncio.to_thread(passphrase_file.read, settings.passphrase_file)
        at = datetime.now(UTC).replace(microsecond=0)
        name = name_of(self._host, at)
        _, content = await service_backup.encrypted(self._layout, self._prefix, secret)
        await place.write(name, content)
        log.info("the service is backed up in %s as %s", place.in_words, name)
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
    return [
        name
        for name, match in found
        if match is not None and _time_of(match[1] or match[2], host) is not None
    ]


def newest_of_all(names: Iterable[str], now: datetime) -> str | None:
    """Return the name of the newest backup, of whichever host; None without one."""
    found = [(at, name) for name in names if (at := _any_time_of(name)) is not None and at - now <= AHEAD]
    return max(found, default=(now, None))[1]


def _backups(names: Iterable[str], host: Identity, now: datetime) -> list[tuple[datetime, str]]:
    """Return times and names of a host's backups, the oldest first, without those of the future."""
    own = ((_time_of(name, host), name) for name in names)
    return sorted((at, name) for at, name in own if at is not None and at - now <= AHEAD)


def _prefix_of(host: Identity) -> str:
    return f"service-{_SAFE.sub('_', host.name)[:64]}-{host.id.hex[:8]}-"


def _time_of(name: str, host: Identity) -> datetime | None:
    """Return the time in the name of a backup, also from when the host had another name."""
    head, _, _ = name.rpartition("-")
    return _any_time_of(name) if head.endswith(f"-{host.id.hex[:8]}") else None


def _any_time_of(name: str) -> datetime | None:
    """Return the time in the name of any host's backup."""
    head, dash, tail = name.removesuffix(".cenote").rpartition("-")
    if not (dash and name.endswith(".cenote") and head.startswith("service-")):
        return None
    try:
        return datetime.strptime(tail, _TIME).replace(tzinfo=UTC)
    except ValueError:
        return None


class Place(Protocol):
    """Where backups of the service are put."""

    @property
    def in_words(self) -> str: ...

    async def names(self) -> list[str]: ...

    async def write(self, name: str, content: bytes) -> None: ...

    async def remove(self, names: Iterable[str]) -> None: ...


class _Folder:
    """A folder; all in threads, since it may be on a disk of another machine that does not answer."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def in_words(self) -> str:
        return str(self._path)

    async def names(self) -> list[str]:
        return await asyncio.to_thread(self._names)

    async def write(self, name: str, content: bytes) -> None:
        path = self._path / name
        try:
            await asyncio.to_thread(files.write, path, content, 0o600, None)
        except OSError as error:
            raise Misconfigured(f"{path} cannot be written: {error.strerror}") from None

    async def remove(self, names: Iterable[str]) -> None:
        await asyncio.to_thread(self._remove, list(names))

    def _names(self) -> list[str]:
        if not self._path.is_dir():
            raise Misconfigured("this directory does not exist; is its disk mounted?")
        return files.names(self._path)

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path / name)


def _in_words(error: CenoteError | OSError) -> str:
    return error.message if isinstance(error, CenoteError) else error.strerror or str(error)
