"""``cenote stop``."""

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
    """Stop the service and every server that it has started; the data stays."""
    asyncio.run(_stop(layout))


async def _stop(layout: Layout) -> None:
    pid = bootstrap.serving_pid(layout)
    process = processes.identify(pid) if pid is not None else None
    if process is not None:
        try:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)
        except PermissionError:
            raise Misconfigured(f"the service (pid {pid}) is another user's; stop it as that user") from None
        if not await processes.ended(process, _SERVICE_SECONDS):
            raise Misconfigured(f"the service (pid {pid}) does not end; its log says why")
        click.echo("the service has ended")
    await shutdown.stop_servers(layout)
    click.echo(f"nothing of {layout.data_dir} runs any more; the data is kept")
