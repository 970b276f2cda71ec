"""``cenote serve``."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import inspect
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cenote.cli import env
from cenote.cli.data_dir import data_dir
from cenote.host import files
from cenote.logs import destinations
from cenote.logs.destinations import Network
from cenote.model.paths import Layout
from cenote.model.records import Secret
from cenote.server import all_in_one
from cenote.server.all_in_one import Ready, Serving
from cenote.server.settings import FIRST_PORT, LAST_PORT, EtcdSettings, ServeSettings

_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_FILE = click.Path(dir_okay=False, path_type=Path)


class _Network(click.ParamType[Any]):
    name = "CIDR"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Network:
        try:
            return destinations.network(str(value))
        except ValueError:
            self.fail(f"{value!r} is no network, such as 127.0.0.1/32", param, ctx)


_OPTIONS = (
    data_dir,
    click.option("--host", default="127.0.0.1", show_default=True, help="Address that all listen on."),
    click.option("--port", default=8443, show_default=True, help="Port of the API; 0 takes a free one."),
    click.option("--public-host", help="Name or address that clients use; goes into every connection."),
    click.option("--domain", help="Clusters are NAME.DOMAIN then; its DNS must lead here."),
    click.option("--tls-cert", type=_FILE, help="Certificate for the API, instead of one of our own CA."),
    click.option("--tls-key", type=_FILE, help="Its private key."),
    click.option("--etcd", multiple=True, metavar="URL", help="An etcd to use instead of a private one."),
    click.option("--etcd-ca", type=_FILE, help="CA certificate of that etcd."),
    click.option("--etcd-cert", type=_FILE, help="Client certificate for it."),
    click.option("--etcd-key", type=_FILE, help="Key of the client certificate."),
    click.option("--etcd-user", default="", help="User for it; its password is in CENOTE_ETCD_PASSWORD."),
    click.option("--etcd-prefix", default="/cenote/", show_default=True, help="Where our records are in it."),
    click.option("--account", help="System user for the servers, as root. [default: postgres]"),
    click.option(
        "--postgres-dir",
        multiple=True,
        type=click.Path(file_okay=False, path_type=Path),
        help="A PostgreSQL installation beside those that are found.",
    ),
    click.option("--pgbouncer", type=_FILE, help="The PgBouncer to use."),
    click.option(
        "--ports",
        default=f"{FIRST_PORT}-{LAST_PORT}",
        show_default=True,
        help="Ports for clusters, two each.",
    ),
    click.option("--requests-per-hour", default=5000, show_default=True, help="For each token; 0: no limit."),
    click.option("--requests-per-minute", default=250, show_default=True, help="The same in a burst."),
    click.option(
        "--log-sink-allow",
        multiple=True,
        type=_Network(),
        envvar="CENOTE_LOG_SINK_ALLOW",
        help="A network of this machine that customers may have logs sent to, too.",
    ),
    click.option("--log-level", default="warning", type=click.Choice(["debug", "info", "warning", "error"])),
)


def serve_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add all options of the service to a command, which gets them as one ``settings``."""

    own_names = frozenset(inspect.signature(function).parameters)

    @functools.wraps(function)
    def collected(log_level: str, **given: Any) -> Any:
        logging.basicConfig(
            level=log_level.upper(),
            stream=sys.stderr,
            format=_LOG_FORMAT,
        )
        for chatty in ("httpx", "httpcore"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        own = {name: given.pop(name) for name in own_names & given.keys()}
        return function(settings=_settings(given), **own)

    for option in reversed(_OPTIONS):
        collected = option(collected)
    return collected


def _settings(given: dict[str, Any]) -> ServeSettings:
    layout: Layout = given["layout"]
    first, _, last = given["ports"].partition("-")
    if not (first.isdigit() and last.isdigit()):
        raise click.BadParameter("give a range, such as 25060-26059", param_hint="--ports")
    password = os.environ.get("CENOTE_ETCD_PASSWORD")
    return ServeSettings(
        data_dir=layout.data_dir,
        host=given["host"],
        port=given["port"],
        public_host=given["public_host"],
        domain=given["domain"],
        certificate=given["tls_cert"],
        key=given["tls_key"],
        etcd=EtcdSettings(
            endpoints=given["etcd"],
            ca=given["etcd_ca"],
            certificate=given["etcd_cert"],
            key=given["etcd_key"],
            user=given["etcd_user"],
            password=Secret(password) if password else None,
            prefix=given["etcd_prefix"],
        ),
        account=given["account"],
        postgres_dirs=given["postgres_dir"],
        pgbouncer=given["pgbouncer"],
        first_port=int(first),
        last_port=int(last),
        requests_per_hour=given["requests_per_hour"],
        requests_per_minute=given["requests_per_minute"],
        log_sink_allow=given["log_sink_allow"],
    )


def run(settings: ServeSettings, ready: Ready) -> None:
    """Serve until a signal says otherwise."""
    import uvloop

    # A signal that comes while the service starts cancels the start, which then has put items in order.
    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        contextlib.suppress(asyncio.CancelledError),
    ):
        runner.run(all_in_one.serve(settings, ready))


@click.command()
@serve_options
@click.option("--ephemeral", is_flag=True, help="A temporary data directory; all is removed on exit.")
@click.option("--env-file", type=_FILE, help="Write the shell exports here once the service is up.")
def command(settings: ServeSettings, ephemeral: bool, env_file: Path | None) -> None:
    """Serve the API and run its clusters on this machine, until Ctrl-C or SIGTERM.

    The databases go on without it, and the next start takes them over; 'cenote stop' ends them too.
    """

    async def ready(up: Serving) -> None:
        click.echo(f"Cenote serves {up.url} (CA certificate: {up.layout.authority})")
        if env_file is not None:
            write_private(env_file, env.lines(up.layout) + "\n")

    run(dataclasses.replace(settings, ephemeral=ephemeral), ready)


def write_private(path: Path, text: str) -> None:
    """Write a file that holds a token, for its owner alone."""
    files.write(path, text.encode(), 0o600, None)
