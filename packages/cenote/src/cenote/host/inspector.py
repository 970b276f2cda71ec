"""What a machine is asked by the looking halves: nothing here changes it.

Some answers are costly or change only with what they depend on; those are remembered.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from cenote.conf.hba import SUPERUSER
from cenote.host import system
from cenote.host.sql import Session
from cenote.model import parameters
from cenote.model.changes import Program
from cenote.model.processes import Process
from cenote.rules.storage import Use

_SETTINGS = "SELECT lower(name), concat_ws(' ', reset_val, unit) FROM pg_settings WHERE lower(name) IN"
_PENDING = "SELECT name FROM pg_settings WHERE pending_restart ORDER BY name"


@dataclass(frozen=True, slots=True)
class _Measurement:
    """When that began, and how many seconds it took."""

    use: Use
    at: float
    took: float


@dataclass(frozen=True, slots=True)
class _Load:
    """A process and the digest of the configuration that it has read; None when that is not known."""

    process: Process | None
    digest: str | None


class Inspector:
    """Answers about the servers of one node or more."""

    def __init__(self) -> None:
        self._listening: dict[int, Process] = {}
        self._uses: dict[Path, _Measurement] = {}
        self._settings: dict[Path, tuple[_Load, dict[str, str]]] = {}
        self._settled: dict[Path, _Load] = {}  # the last load after which no restart was pending

    def listens(self, process: Process, port: int) -> bool:
        """Return whether this very process listens on a TCP port.

        Once it does, it does so until it ends, so the kernel's slow table is read no more for it.
        """
        if self._listening.get(port) != process and port in system.listening_sockets(process.pid):
            self._listening[port] = process
        return self._listening.get(port) == process

    async def disk_use(self, folder: Path, max_age: float) -> Use:
        """Return how full the storage is; measured again when that was ``max_age`` seconds ago.

        A folder of many files takes its time, so that takes no more than a twentieth of all time.
        """
        now = asyncio.get_running_loop().time
        known, begun = self._uses.get(folder), now()
        if known is None or begun - known.at > max(max_age, 20 * known.took):
            use = await asyncio.to_thread(system.disk_use, folder)
            known = self._uses[folder] = _Measurement(use, begun, now() - begun)
        return known.use

    async def pending_restart(
        self, server: Program, process: Process | None, digest: str | None, session: Session
    ) -> tuple[str, ...]:
        """Return the settings that wait for a restart of the server.

        Only reading its files again can bring a server to wait for one, so it is asked once for each load.
        """
        load = _Load(process, digest)
        if digest is not None and self._settled.get(server.stamp) == load:
            return ()
        pending = tuple(name for (name,) in await session.rows(SUPERUSER, _PENDING))
        if not pending:
            self._settled[server.stamp] = load
        return pending

    async def settings_in_force(
        self, server: Program, process: Process | None, digest: str | None, session: Session
    ) -> dict[str, str]:
        """Return what the server runs on, as ``settings_in_force`` does; asked once for each load."""
        load = _Load(process, digest)
        known = self._settings.get(server.stamp)
        if known is None or known[0] != load:
            known = self._settings[server.stamp] = load, await settings_in_force(session)
        return known[1]


async def settings_in_force(session: Session) -> dict[str, str]:
    """Ask the server what it runs on: of each setting of the API its value and, if any, its unit."""
    names = ", ".join(f"'{parameter.server_name}'" for parameter in parameters.POSTGRESQL.values())
    return dict(await session.rows(SUPERUSER, f"{_SETTINGS} ({names})"))
