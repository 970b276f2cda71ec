"""``cenote serve``: a service from its settings to its end.

PostgreSQL, PgBouncer and etcd keep running when it ends, and the next one adopts them.  Only ``--ephemeral``
and ``cenote stop`` stop them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cenote.errors import Misconfigured
from cenote.host import files, orphans, port_reservation, processes
from cenote.host.shutdown import stop_servers
from cenote.http import server as http_server
from cenote.model.paths import Layout
from cenote.model.timing import DEFAULT, Timing
from cenote.server import (
    bootstrap,
    environment,
    first_process,
    installation,
    joining,
    service_files,
    store_access,
)
from cenote.server.installation import Installation
from cenote.server.settings import ServeSettings
from cenote.server.supervisor import OnReady, Supervisor
from cenote.server.wakeups import Wakeups

log = logging.getLogger(__name__)

EPHEMERAL_PORTS = 96  # 32 clusters
ORPHAN_SECONDS = 10.0  # for what an ephemeral service has left to end after SIGKILL


def serve(settings: ServeSettings, ready: OnReady, timing: Timing = DEFAULT) -> None:
    """Serve until SIGINT or SIGTERM; ``ready`` is called once the API answers, in a process of its own.

    Raises Misconfigured with a remedy before anything is started.
    """
    settings.check()
    environment.start_anew()
    for lost in environment.settle():
        log.warning("%s", lost)
    strangers = frozenset(processes.children(os.getpid()))  # of the shell that has become this process
    with Wakeups() as wakeups, _data_dir(settings) as settings, _ports(settings) as settings:
        layout = Layout(settings.data_dir)
        layout.check()
        # Before a token is used up, and before anything is made.
        roles = () if settings.join is not None else joining.roles(layout, settings)
        programs = installation.find_programs(store_access.with_store(settings, layout), roles)
        servers, api = installation.server_account(settings), installation.api_account(settings)
        lock = bootstrap.lock(layout)
        try:
            service_files.check_whole(layout)
            if not _has_joined(settings, layout, wakeups):
                return
            settings = store_access.with_store(settings, layout)
            if settings.join is not None:  # whether etcd is needed is known now
                roles = joining.roles(layout, settings)
                programs = installation.find_programs(settings, roles)
            found = Installation(
                settings=settings,
                layout=layout,
                programs=programs,
                servers=servers,
                api=api,
                timing=timing,
                roles=roles,
            )
            installation.check_passage(layout, found.servers, found.api)
            with _listener(found) as listener:
                processes.become_subreaper()
                supervisor = Supervisor(found, wakeups, listener, lock)
                try:
                    supervisor.run(ready)
                finally:
                    if settings.ephemeral:
                        _stop_everything(supervisor, layout, strangers)
        finally:
            os.close(lock)


def _has_joined(settings: ServeSettings, layout: Layout, wakeups: Wakeups) -> bool:
    """Join the fleet if that was asked for; False when the service was told to end meanwhile."""
    if settings.join is None:
        joining.check_address(layout, settings)
        return True
    return first_process.attend("join", lambda _channel: joining.join(layout, settings), wakeups)


@contextlib.contextmanager
def _listener(found: Installation) -> Iterator[socket.socket | None]:
    """The listening socket of the API; None for a host without."""
    if not found.serves_api:
        yield None
        return
    with contextlib.closing(http_server.listen(found.settings.host, found.settings.port)) as listener:
        yield listener


@contextlib.contextmanager
def _data_dir(settings: ServeSettings) -> Iterator[ServeSettings]:
    """Create a directory for an ephemeral service, or take the empty one given, and remove it at the end."""
    if not settings.ephemeral:
        yield settings
        return
    folder = settings.folder or Path(tempfile.mkdtemp(prefix="cenote-"))
    if settings.folder is not None:
        _make_empty(folder)
    os.chmod(folder, 0o711)  # noqa: S103 - the servers' account needs to traverse it
    try:
        yield replace(settings, data_dir=folder)
    finally:
        with contextlib.suppress(OSError):
            files.remove(folder)


def _make_empty(folder: Path) -> None:
    """Have an empty directory; Misconfigured for one with something in it, since all of it is removed."""
    try:
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        in_use = bool(os.listdir(folder))
        is_ours = folder.stat().st_uid == os.geteuid()
    except OSError as error:
        raise Misconfigured(f"the directory {folder} cannot be used: {error.strerror}") from None
    if not is_ours:
        raise Misconfigured(f"{folder} belongs to another user; give a new directory, or one of yours")
    if in_use:
        raise Misconfigured(
            f"{folder} is not empty, and --ephemeral removes its data directory at the end; "
            "give a new one, or leave out --data-dir"
        )


@contextlib.contextmanager
def _ports(settings: ServeSettings) -> Iterator[ServeSettings]:
    """Reserve ports for an ephemeral service, unless a range was given."""
    if not settings.reserves_ports:
        yield settings
        return
    with port_reservation.reserved(settings.host, EPHEMERAL_PORTS) as ports:
        yield replace(settings, first_port=ports[0], last_port=ports[-1])


def _stop_everything(supervisor: Supervisor, layout: Layout, strangers: frozenset[int]) -> None:
    try:
        supervisor.attend_to_the_end("cleanup", lambda _channel: asyncio.run(stop_servers(layout)))
    finally:
        orphans.kill(strangers.__contains__, ORPHAN_SECONDS)  # such as the initdb of a killed agent
