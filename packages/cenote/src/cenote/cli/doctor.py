"""``cenote doctor``: checks that this machine has the programs and the account a service needs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path

import click

from cenote.cli import dns_checks, fleet_checks
from cenote.cli.data_dir import data_dir
from cenote.conf import pgbackrest
from cenote.errors import CenoteError, Misconfigured
from cenote.host import files, identity, programs, repository_disk, service_copy, unknown
from cenote.host.backup_program import BackupProgram
from cenote.host.identity import Identity
from cenote.model.paths import Layout
from cenote.server import backup_repository, environment, installation
from cenote.server.name_server_settings import NameServerSettings
from cenote.server.settings import ServeSettings


@click.command()
@data_dir
@click.option(
    "--postgres-dir",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="PostgreSQL installation outside the standard locations; repeatable.",
)
@click.option(
    "--pgbouncer",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="PgBouncer program to use.",
)
@click.option("--domain", metavar="DOMAIN", help="Domain of the clusters' names; with --dns-server.")
@click.option("--dns-server", metavar="HOST[:PORT]", help="Name server to check.")
@click.option("--dns-key-file", type=click.Path(path_type=Path), help="File with the key for it.")
@click.option("--dns-zone", metavar="ZONE", help="Zone of the names in it.  [default: --domain]")
def command(
    layout: Layout,
    postgres_dir: tuple[Path, ...],
    pgbouncer: Path | None,
    domain: str | None,
    dns_server: str | None,
    dns_key_file: Path | None,
    dns_zone: str | None,
) -> None:
    """Check this machine for missing or outdated programs.

    Of a host that has joined others, also whether it reaches them, and whether clocks and versions agree.

    With --domain, --dns-server and --dns-key-file as 'cenote serve' takes them, also whether the name server
    has the zone and knows the key.

    Lists each problem with the command that fixes it, and exits with 1 if there is any.
    """
    found = programs.find(postgres_dirs=postgres_dir, pgbouncer=pgbouncer, data_dir=layout.data_dir)
    for install in found.postgres.values():
        click.echo(f"ok       PostgreSQL {install.version} in {install.bin}")
    for name, program in (
        ("PgBouncer", found.pgbouncer),
        ("etcd", found.etcd),
        ("pgBackRest", found.pgbackrest),
    ):
        if program is not None:
            click.echo(f"ok       {name} {program.version}, {program.path}")
    _show_backup_limits(found)
    _show_node_limits(found)
    problems = [(problem.what, problem.command) for problem in programs.problems(found)]
    if domain or dns_server or dns_key_file or dns_zone:
        if not (domain and dns_server and dns_key_file):
            raise click.UsageError("--domain, --dns-server and --dns-key-file must be given together")
        settings = NameServerSettings(
            dns_server, dns_key_file, (dns_zone or domain).lower().removesuffix(".")
        )
        wrong = dns_checks.problem(settings, domain.lower().removesuffix("."))
        if wrong:
            problems.append((wrong, ""))
        else:
            click.echo(
                f"ok       the name server {dns_server} has the zone {settings.zone}, and knows the key"
            )
    try:
        click.echo(f"ok       servers run as {installation.server_account(ServeSettings()).name}")
        layout.check()
        if identity.has_api(layout):
            _show_api_account()
        for notice in environment.notices():
            click.echo(f"notice   {notice}")
        found_identity = identity.read(layout)
        if found_identity is not None:
            click.echo(f"ok       this host is {found_identity.name} (id {found_identity.id})")
            _show_etcd(layout, found_identity)
            _show_unknown(layout)
            _show_service_copy(layout)
            problems += _repository_problems(layout, found)
            for one in fleet_checks.findings(layout, found_identity, frozenset(found.postgres)):
                if one.kind == "error":
                    problems.append((one.what, one.fix))
                else:
                    click.echo(f"{one.kind:8} {one.what}")
    except Misconfigured as error:
        problems.append((error.message, ""))
    for what, fix in problems:
        click.echo(f"error    {what}")
        if fix:
            click.echo(f"         fix: {fix}")
    if problems:
        sys.exit(1)
    click.echo("All dependencies found")


def _show_backup_limits(found: programs.Programs) -> None:
    """Say what cannot be backed up here; that is no error, since backups are a choice."""
    lacking = programs.without_backups(found)
    if lacking is not None:
        click.echo(f"notice   {lacking.what}: 'cenote serve --backups' needs it")
        click.echo(f"         to install it: {lacking.command}")
    if limits := programs.limits_of_backups(found):
        click.echo(f"notice   {limits}")


def _show_node_limits(found: programs.Programs) -> None:
    """Say that clusters have one node each here; that is no error, since more are a choice."""
    lacking = programs.without_patroni(found)
    if lacking is not None:
        click.echo(f"notice   {lacking.what}: 'num_nodes' above 1 is refused without it")
        click.echo(f"         to install it: {lacking.command}")


def _repository_problems(layout: Layout, found: programs.Programs) -> list[tuple[str, str]]:
    """Ask the repository of the last start, if it had any, as the servers' account does."""
    configuration, program = layout.repository_check, found.pgbackrest
    try:
        if program is None or files.mode_of_file(configuration) is None:
            return []
        account = installation.server_account(ServeSettings())
        asyncio.run(backup_repository.ask(BackupProgram(program.path, account), configuration))
        told = _show_repository(layout, configuration)
    except PermissionError:  # of another user
        return []
    except (CenoteError, OSError) as error:
        return [(f"the repository for backups cannot be used: {error}", "")]
    click.echo(f"ok       the repository for backups answers, and can be written to{told}")
    return []


def _show_repository(layout: Layout, configuration: Path) -> str:
    """Say what is to be said of a directory of this host; return how much room it has, in words."""
    path = pgbackrest.directory_of((files.read(configuration) or b"").decode())
    if path is None:
        return ""
    free = repository_disk.use(path).free_mib
    if repository_disk.is_that_of(path, layout.data_dir):
        click.echo(f"notice   backups are kept in {path}: {backup_repository.ON_DISK_OF_DATA}")
    return f": {path}, {free} MiB free"


def _show_etcd(layout: Layout, found: Identity) -> None:
    """Say what is lost with an etcd of the operator's; a host with a store and no etcd here uses one.

    Unless it has joined others, whose etcd it uses.
    """
    if found.store is not None and not layout.etcd.exists() and not layout.members.exists():
        click.echo(
            "notice   the records are in an etcd of your own, whose users and rights are yours to make:"
        )
        click.echo(
            "         the API and the agents of all hosts share one login (--etcd-user), so a flaw in either "
            "could change every record"
        )


def _show_unknown(layout: Layout) -> None:
    """Say what is here and in no record, as the service has found it."""
    with contextlib.suppress(PermissionError):
        for one in unknown.read(layout):
            click.echo(f"notice   cluster {one.cluster}, {one.node}: {one.why}")
            click.echo("         it runs on as it is; see 'cenote host unknown'")


def _show_service_copy(layout: Layout) -> None:
    """Say when the service has backed itself up, where it is told to, or why it could not."""
    with contextlib.suppress(PermissionError):
        found = service_copy.read(layout)
        if found is None:
            _show_missing_service_copy(layout)
            return
        newest = "none was made" if found.at is None else f"the newest is of {found.at:%Y-%m-%d %H:%M} UTC"
        if found.problem:
            click.echo(f"notice   {found.problem}; {newest}")
        else:
            click.echo(f"ok       automatic backups of the service: {newest}")


def _show_missing_service_copy(layout: Layout) -> None:
    """Say that backups that are kept elsewhere are of no use without a backup of the service."""
    content = files.read(layout.repository_check)
    if content is None or not identity.has_api(layout):
        return
    path = pgbackrest.directory_of(content.decode())
    if path is not None and repository_disk.is_that_of(path, layout.data_dir):
        return
    click.echo(
        "notice   the service itself is not backed up: after the loss of all hosts, the backups of clusters "
        "cannot be read"
    )
    click.echo("         fix: start it with --service-backup-passphrase-file; keep the passphrase elsewhere")


def _show_api_account() -> None:
    """Say what the API runs as, and what is lost without an account of its own; that is no error."""
    account = installation.api_account(ServeSettings())
    lost = installation.without_api_account(account)
    if lost is None:
        click.echo(f"ok       the API runs as {account.name}")
        return
    click.echo(f"notice   {lost}")
    if os.geteuid() == 0:
        click.echo(f"         to make one: {installation.MAKE_API_ACCOUNT} {installation.API_ACCOUNT}")
