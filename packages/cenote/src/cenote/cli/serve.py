"""``cenote serve``, and the options that it shares with ``cenote quickstart``."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import logging
import os
import sys
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click

from cenote.cli import env
from cenote.cli.data_dir import absolute, data_dir
from cenote.host import files
from cenote.http.admission import MOST_OF_AN_ADDRESS
from cenote.logs import destinations
from cenote.logs.destinations import Network
from cenote.model.fleet_ports import DEFAULT_FLEET_PORT
from cenote.model.fleet_records import HostRole
from cenote.model.paths import Layout
from cenote.model.record import Secret
from cenote.rules import repositories
from cenote.server import child, service
from cenote.server.backup_settings import BackupSettings
from cenote.server.name_server_settings import NameServerSettings
from cenote.server.settings import (
    FIRST_PORT,
    LAST_PORT,
    EtcdSettings,
    ServeSettings,
    ServiceCopySettings,
)
from cenote.server.supervisor import Serving

_FILE = click.Path(dir_okay=False, path_type=Path)


class _Network(click.ParamType[Any]):
    name = "CIDR"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Network:
        try:
            return destinations.parse_network(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a network such as 127.0.0.1/32", param, ctx)


_OPTIONS = (
    data_dir,
    click.option(
        "--host",
        metavar="ADDRESS",
        help="Listen address of API, PostgreSQL and pools.  [default: --address, else 127.0.0.1]",
    ),
    click.option(
        "--port", metavar="PORT", default=8443, show_default=True, help="API port; 0 picks a free one."
    ),
    click.option(
        "--name", metavar="NAME", help="Name of this host.  [default: the machine's at first start]"
    ),
    click.option(
        "--address", metavar="ADDRESS", help="Address at which other hosts reach this one, to run several."
    ),
    click.option(
        "--join",
        metavar="TOKEN",
        envvar="CENOTE_JOIN",
        show_envvar=True,
        help="Join the hosts that 'cenote host token' was run on.",
    ),
    click.option(
        "--roles",
        metavar="ROLES",
        help="What this host does: api, database, store, separated by commas.  [default: all]",
    ),
    click.option("--zone", metavar="ZONE", default="", help="Where this host stands, such as a data centre."),
    click.option(
        "--fleet-port",
        metavar="PORT",
        default=DEFAULT_FLEET_PORT,
        show_default=True,
        help="First of four ports for other hosts; with --address.",
    ),
    click.option(
        "--public-host", metavar="HOST", help="Host name or address in connection strings and certificates."
    ),
    click.option(
        "--domain", metavar="DOMAIN", help="Name clusters NAME.DOMAIN, which must lead to their hosts."
    ),
    click.option(
        "--dns-server",
        metavar="HOST[:PORT]",
        help="Keep these names in this name server, by updates (RFC 2136).",
    ),
    click.option("--dns-key-file", type=_FILE, help="File with the key for it, as tsig-keygen prints it."),
    click.option(
        "--dns-zone", metavar="ZONE", help="Zone of the names in the name server.  [default: --domain]"
    ),
    click.option("--tls-cert", type=_FILE, help="API certificate.  [default: issued by Cenote's own CA]"),
    click.option("--tls-key", type=_FILE, help="Private key of --tls-cert."),
    click.option(
        "--etcd", multiple=True, metavar="URL", help="External etcd; repeatable.  [default: a private one]"
    ),
    click.option("--etcd-ca", type=_FILE, help="CA certificate of the external etcd."),
    click.option("--etcd-cert", type=_FILE, help="Client certificate for the external etcd."),
    click.option("--etcd-key", type=_FILE, help="Private key of --etcd-cert."),
    click.option(
        "--etcd-user", metavar="USER", default="", help="User in etcd; its password is $CENOTE_ETCD_PASSWORD."
    ),
    click.option(
        "--etcd-prefix",
        metavar="PREFIX",
        default="/cenote/",
        show_default=True,
        help="Prefix of keys in etcd.",
    ),
    click.option(
        "--account", metavar="USER", help="System user of the servers; root only.  [default: postgres]"
    ),
    click.option(
        "--api-account", metavar="USER", help="System user of the API; root only.  [default: cenote-api]"
    ),
    click.option(
        "--postgres-dir",
        multiple=True,
        type=click.Path(file_okay=False, path_type=Path),
        help="PostgreSQL installation outside the standard locations; repeatable.",
    ),
    click.option("--pgbouncer", type=_FILE, help="PgBouncer program to use."),
    click.option(
        "--ports",
        metavar="FIRST-LAST",
        default=f"{FIRST_PORT}-{LAST_PORT}",
        show_default=True,
        help="Port range for clusters, three per cluster.",
    ),
    click.option(
        "--memory-overcommit",
        metavar="FACTOR",
        type=click.FloatRange(min=0, min_open=True),
        help="Place clusters up to this multiple of a host's memory, such as 1.5.  [default: no limit]",
    ),
    click.option(
        "--storage-overcommit",
        metavar="FACTOR",
        type=click.FloatRange(min=0, min_open=True),
        help="The same for a host's storage.  [default: no limit]",
    ),
    click.option(
        "--distinct-hosts",
        is_flag=True,
        help="Refuse clusters of several nodes that would share a host.",
    ),
    click.option(
        "--requests-per-hour",
        metavar="N",
        type=click.IntRange(min=0),
        help="Limit per token; 0: none.  [default: 100000 if --host is loopback, else 5000]",
    ),
    click.option(
        "--requests-per-minute",
        metavar="N",
        type=click.IntRange(min=0),
        help="Limit of bursts per token; 0: none.  [default: 0 if --host is loopback, else 250]",
    ),
    click.option(
        "--connections",
        metavar="N",
        type=click.IntRange(min=16),
        help="Most open connections of the API; default: as the limit of file descriptors allows.",
    ),
    click.option(
        "--connections-per-address",
        metavar="N",
        type=click.IntRange(min=0),
        default=MOST_OF_AN_ADDRESS,
        show_default=True,
        help="Most open connections of the API from one address of another machine; 0: no limit.",
    ),
    click.option(
        "--copy-rate",
        metavar="MIB",
        type=click.IntRange(0, 1024),
        default=0,
        show_default=True,
        help="Most MiB per second when a cluster's data is copied to this host; 0: no limit.",
    ),
    click.option(
        "--log-sink-allow",
        multiple=True,
        type=_Network(),
        envvar="CENOTE_LOG_SINK_ALLOW",
        show_envvar=True,
        help="Also allow log sinks in this network of the host; repeatable.",
    ),
    click.option(
        "--undelete-days",
        metavar="N",
        type=click.IntRange(min=0, max=3650),
        default=7,
        show_default=True,
        help="How long deleted clusters can be undeleted; 0: remove them at once.",
    ),
    click.option(
        "--trash-days",
        metavar="N",
        type=click.IntRange(min=0, max=3650),
        default=7,
        show_default=True,
        help="How long to keep the data of clusters that have left this host; 0: remove it at once.",
    ),
    click.option(
        "--service-backup-dir",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help="Back up the service itself into this directory, each day and after changes.",
    ),
    click.option(
        "--service-backup-passphrase-file",
        type=_FILE,
        help="File with the passphrase of these backups, which only the service's user may read.  "
        "With --backups they are put into the repository, too.",
    ),
    click.option(
        "--service-backups-kept",
        metavar="N",
        type=click.IntRange(min=1, max=10_000),
        default=14,
        show_default=True,
        help="For how many days to keep the newest of these backups.",
    ),
    click.option(
        "--backups",
        metavar="URL",
        help="Back clusters up to file:///DIRECTORY or s3://BUCKET/PREFIX?endpoint=HOST&region=REGION, "
        "or not (none).  [default: 'backups' in the data directory]",
    ),
    click.option(
        "--backups-credentials",
        type=_FILE,
        help="File with the lines 'key = …' and 'secret = …' for a bucket.",
    ),
    click.option(
        "--backup-days",
        metavar="N",
        type=click.IntRange(repositories.MIN_DAYS, repositories.MAX_DAYS),
        default=7,
        show_default=True,
        help="How far back a moment can be restored.",
    ),
    click.option(
        "--backup-drill-days",
        metavar="N",
        type=click.IntRange(0, repositories.MOST_DRILL_DAYS),
        default=7,
        show_default=True,
        help="Restore a backup of each cluster aside and check it every N days; 0: only when asked.",
    ),
    click.option(
        "--log-level",
        default="warning",
        show_default=True,
        type=click.Choice(["debug", "info", "warning", "error"]),
        help="Minimum level of log messages.",
    ),
)


def serve_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the service's options to a command, which receives them as one ``settings``."""

    own_names = frozenset(inspect.signature(function).parameters)

    @functools.wraps(function)
    def collected(log_level: str, **given: Any) -> Any:
        logging.basicConfig(
            level=log_level.upper(),
            stream=sys.stderr,
            format=child.LOG_FORMAT.format(process="supervisor"),
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
        raise click.BadParameter("must be a range such as 25060-32767", param_hint="--ports")
    password = os.environ.get("CENOTE_ETCD_PASSWORD")
    return ServeSettings(
        data_dir=layout.data_dir,
        host=given["host"] or _listen_address(given["address"]),
        port=given["port"],
        name=given["name"],
        public_host=given["public_host"],
        domain=_domain(given["domain"]),
        certificate=_absolute(given["tls_cert"]),
        key=_absolute(given["tls_key"]),
        etcd=EtcdSettings(
            endpoints=given["etcd"],
            ca=_absolute(given["etcd_ca"]),
            certificate=_absolute(given["etcd_cert"]),
            key=_absolute(given["etcd_key"]),
            user=given["etcd_user"],
            password=Secret(password) if password else None,
            prefix=given["etcd_prefix"],
        ),
        account=given["account"],
        api_account=given["api_account"],
        postgres_dirs=tuple(map(absolute, given["postgres_dir"])),
        pgbouncer=_absolute(given["pgbouncer"]),
        first_port=int(first),
        last_port=int(last),
        requests_per_hour=given["requests_per_hour"],
        requests_per_minute=given["requests_per_minute"],
        connections=given["connections"],
        connections_per_address=given["connections_per_address"],
        log_sink_allow=given["log_sink_allow"],
        address=given["address"],
        join=Secret(given["join"]) if given["join"] else None,
        roles=_roles(given["roles"]),
        zone=given["zone"],
        fleet_port=given["fleet_port"],
        memory_overcommit=given["memory_overcommit"],
        storage_overcommit=given["storage_overcommit"],
        distinct_hosts=given["distinct_hosts"],
        copy_rate_mib=given["copy_rate"],
        undelete_days=given["undelete_days"],
        trash_days=given["trash_days"],
        dns=_name_server(given),
        service_copies=_service_copies(given),
        backups=_backups(given, layout),
    )


def _backups(given: dict[str, Any], layout: Layout) -> BackupSettings:
    url = given["backups"]
    return BackupSettings(
        url=repositories.NONE if url is None else url,
        credentials_file=_absolute(given["backups_credentials"]),
        days=given["backup_days"],
        drill_days=given["backup_drill_days"],
        own=layout.own_repository if url is None else None,
    )


def _listen_address(address: str | None) -> str:
    """Return where to listen by default: at the host's address, everywhere if that is a name."""
    if address is None:
        return "127.0.0.1"
    try:
        ip_address(address)
    except ValueError:
        return "0.0.0.0"  # noqa: S104 - the name stands for one of our addresses
    return address


def _roles(text: str | None) -> tuple[HostRole, ...]:
    try:
        return tuple(sorted({HostRole(name.strip()) for name in (text or "").split(",") if name.strip()}))
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not a list of api, database and store", param_hint="--roles"
        ) from None


def _domain(text: str | None) -> str | None:
    return None if text is None else text.lower().removesuffix(".")


def _name_server(given: dict[str, Any]) -> NameServerSettings | None:
    server, key, zone = given["dns_server"], _absolute(given["dns_key_file"]), _domain(given["dns_zone"])
    if server is None and key is None and zone is None:
        return None
    if server is None or key is None:
        raise click.UsageError("--dns-server and --dns-key-file must be given together")
    return NameServerSettings(server, key, zone or _domain(given["domain"]) or "")


def _service_copies(given: dict[str, Any]) -> ServiceCopySettings | None:
    folder, passphrase = given["service_backup_dir"], given["service_backup_passphrase_file"]
    if passphrase is None:
        if folder is None:
            return None
        raise click.UsageError(
            "--service-backup-dir and --service-backup-passphrase-file must be given together"
        )
    if folder is None and given["backups"] in (None, repositories.NONE):
        raise click.UsageError(
            "--service-backup-passphrase-file must be given together with --service-backup-dir, or --backups"
        )
    return ServiceCopySettings(_absolute(folder), absolute(passphrase), given["service_backups_kept"])


def _absolute(path: Path | None) -> Path | None:
    """The service works in no folder of the operator's, so a path must not depend on one."""
    return None if path is None else absolute(path)


@click.command()
@serve_options
@click.option("--ephemeral", is_flag=True, help="Use a temporary data directory; remove everything on exit.")
@click.option("--env-file", type=_FILE, help="Write the output of 'cenote env' to this file when ready.")
def command(settings: ServeSettings, ephemeral: bool, env_file: Path | None) -> None:
    """Start the service: serve the API and run its clusters on this machine, until Ctrl-C or SIGTERM.

    Databases keep running; the next start takes them over.  Stop them with 'cenote stop'.
    """

    env_file = _absolute(env_file)

    def ready(up: Serving) -> None:
        if not up.url:
            say(f"Cenote serves as a host of the fleet at {settings.address}, without an API")
            return
        say(f"Cenote serves {up.url} (CA certificate: {up.layout.authority})")
        if env_file is not None:
            write_private(env_file, env.lines(up.layout) + "\n")

    service.serve(_ephemeral(settings) if ephemeral else settings, ready)


def _ephemeral(settings: ServeSettings) -> ServeSettings:
    """Return the settings of an ephemeral service, which has its own directory and ports unless given."""
    source = click.get_current_context().get_parameter_source
    given = click.core.ParameterSource.COMMANDLINE
    return dataclasses.replace(
        settings,
        ephemeral=True,
        backups=BackupSettings() if settings.backups.is_default else settings.backups,
        # Not from $CENOTE_DATA_DIR, where the data of another service are.
        folder=settings.data_dir if source("layout") is given else None,
        reserves_ports=source("ports") is not given,
    )


def say(text: str) -> None:
    """Print a line for whoever still reads: the service goes on when nobody does."""
    with contextlib.suppress(OSError):
        click.echo(text)


def write_private(path: Path, text: str) -> None:
    """Write a file that contains a token, with mode 0600."""
    files.write(path, text.encode(), 0o600, None)
