"""``cenote stop``: stops the service, then every server of its data directory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import click

from cenote.cli.data_dir import data_dir
from cenote.errors import Misconfigured
from cenote.host import processes, shutdown
from cenote.model.paths import Layout
from cenote.server import bootstrap

_SERVICE_SECONDS = 60.0


@click.command()
@data_dir
def command(layout: Layout) -> None:
    """Stop the service and all servers it started; data is kept."""
    asyncio.run(_stop(layout))


async def _stop(layout: Layout) -> None:
    pid = bootstrap.serving_pid(layout)
    process = processes.identify(pid) if pid is not None else None
    if process is not None:
        try:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)
        except PermissionError:
            raise Misconfigured(
                f"the service (pid {pid}) runs as another user; run this as that user"
            ) from None
        if not await processes.ended(process, _SERVICE_SECONDS):
            raise Misconfigured(f"the service (pid {pid}) did not stop; see its log")
        click.echo("Service stopped")
    await shutdown.stop_servers(layout)
    click.echo(f"All servers in {layout.data_dir} stopped; data kept")
