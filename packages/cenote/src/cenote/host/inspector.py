"""Queries about a machine for the ``look`` functions; nothing here changes it.

Results that are costly, or that change only with what they depend on, are cached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan.loaded import Loaded
from cenote.host import system
from cenote.host.sql import Session
from cenote.model import parameters
from cenote.model.changes import Program
from cenote.model.parameters import ServerLimits
from cenote.model.processes import Process
from cenote.model.status_records import DiskUse

_SETTINGS = "SELECT lower(name), concat_ws(' ', reset_val, unit) FROM pg_settings WHERE lower(name) IN"
_IN_FORCE = "SELECT name, setting FROM pg_settings WHERE name = ANY(ARRAY[{names}])"
_PENDING = "SELECT name, setting FROM pg_settings WHERE pending_restart ORDER BY name"


# Of values that the server does not accept a reload logs only, and the others come into force.
_REFUSED = """
SELECT lower(file.name), file.setting
FROM pg_file_settings AS file LEFT JOIN pg_settings AS known ON lower(known.name) = lower(file.name)
WHERE file.error IS NOT NULL AND NOT coalesce(known.pending_restart, false)
"""
_LIMITS = "SELECT lower(name), unit, enumvals, min_val, max_val FROM pg_settings WHERE lower(name) IN"


@dataclass(frozen=True, slots=True)
class _Measurement:
    """``at``: when the measurement began; ``took``: its seconds."""

    use: DiskUse
    at: float
    took: float


class Inspector:
    """Queries about the servers of one node or more."""

    def __init__(self) -> None:
        self._listening: dict[int, Process] = {}
        self._uses: dict[Path, _Measurement] = {}
        self._settings: dict[Path, tuple[Loaded, dict[str, str]]] = {}
        self._pending: dict[Path, tuple[Loaded, dict[str, str]]] = {}
        self._fixed: dict[Path, tuple[Process | None, dict[str, str]]] = {}
        self._limits: dict[Path, tuple[Process | None, dict[str, ServerLimits]]] = {}
        self._refused: dict[Path, tuple[Loaded, dict[str, str]]] = {}

    def listens(self, process: Process, port: int) -> bool:
        """Return whether this process listens on a TCP port.

        It then keeps listening until it ends, so the kernel's socket table, which is slow, is read no more.
        """
        if self._listening.get(port) != process and port in system.listening_sockets(process.pid):
            self._listening[port] = process
        return self._listening.get(port) == process

    async def disk_use(self, folder: Path, max_age: float) -> DiskUse:
        """Return the use of the storage; measured again when older than ``max_age`` seconds.

        A directory of many files is slow to measure; measuring is limited to a twentieth of the time.
        """
        now = asyncio.get_running_loop().time
        known, begun = self._uses.get(folder), now()
        if known is None or begun - known.at > max(max_age, 20 * known.took):
            use = await asyncio.to_thread(system.disk_use, folder)
            known = self._uses[folder] = _Measurement(use, begun, now() - begun)
        return known.use

    async def pending_restart(self, server: Program, loaded: Loaded, session: Session) -> dict[str, str]:
        """Return the settings that wait for a restart of the server, each with its value in force.

        Only a reload can change them, so the server is queried once for each.
        """
        known = self._pending.get(server.stamp)
        if known is None or known[0] != loaded or loaded.digest is None:
            pending = dict(await session.rows(SUPERUSER, _PENDING))
            known = self._pending[server.stamp] = loaded, pending
        return known[1]

    async def fixed(
        self, server: Program, process: Process | None, names: Collection[str], session: Session
    ) -> dict[str, str]:
        """Return the values of settings that only a restart changes, so they are queried once for each start.

        The names are always the same.
        """
        known = self._fixed.get(server.stamp)
        if known is None or known[0] != process:
            quoted = ", ".join(f"'{name}'" for name in sorted(names))
            rows = await session.rows(SUPERUSER, _IN_FORCE.format(names=quoted))
            known = self._fixed[server.stamp] = process, dict(rows)
        return known[1]

    async def settings_in_force(self, server: Program, loaded: Loaded, session: Session) -> dict[str, str]:
        """Return ``settings_in_force``; the server is queried once for each load."""
        known = self._settings.get(server.stamp)
        if known is None or known[0] != loaded:
            known = self._settings[server.stamp] = loaded, await settings_in_force(session)
        return known[1]

    async def limits(
        self, server: Program, process: Process | None, session: Session
    ) -> dict[str, ServerLimits]:
        """Return what the server takes for the settings that the API offers, by the server's names.

        That depends on how it was built, so it is queried once for each start.
        """
        known = self._limits.get(server.stamp)
        if known is None or known[0] != process:
            rows = await session.rows(SUPERUSER, f"{_LIMITS} ({_offered()})")
            known = self._limits[server.stamp] = process, {name: _limits(*rest) for name, *rest in rows}
        return known[1]

    async def refused(self, server: Program, loaded: Loaded, session: Session) -> dict[str, str]:
        """Return the settings in the server's file that it does not accept, with their values."""
        known = self._refused.get(server.stamp)
        if known is None or known[0] != loaded or loaded.digest is None:
            rows = await session.rows(SUPERUSER, _REFUSED)
            known = self._refused[server.stamp] = loaded, dict(rows)
        return known[1]

    def last_refused(self, server: Program) -> dict[str, str]:
        """Return the answer of the last query for these, also if the server has ended since."""
        known = self._refused.get(server.stamp)
        return {} if known is None else known[1]

    def note_refused(self, server: Program, refused: dict[str, str]) -> None:
        """Keep what a server that does not start would not accept."""
        self._refused[server.stamp] = Loaded(None, None), refused


async def settings_in_force(session: Session) -> dict[str, str]:
    """Query the settings that the API offers: for each its value and, if any, unit."""
    return dict(await session.rows(SUPERUSER, f"{_SETTINGS} ({_offered()})"))


def _limits(
    unit: str | None, choices: list[str] | None, minimum: str | None, maximum: str | None
) -> ServerLimits:
    return ServerLimits(unit, None if choices is None else tuple(choices), minimum, maximum)


def _offered() -> str:
    return ", ".join(f"'{parameter.server_name}'" for parameter in parameters.POSTGRESQL.values())
