"""``cenote run``: a command with a temporary service and cluster of its own."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from cenote.cli import env
from cenote.cli.data_dir import absolute
from cenote.cli.psql import LEADING_ELSEWHERE, libpq_variables
from cenote.host import files
from cenote.model import connection_formats
from cenote.model.connection_formats import Target
from cenote.model.paths import Layout
from cenote.server import command_run
from cenote.server.command_keeper import CANNOT_RUN, NOT_FOUND, Job

CLUSTER = "tests"
ONLINE_SECONDS = 120.0
_DIRECTORY = click.Path(file_okay=False, path_type=Path)


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--cluster", metavar="NAME", default=CLUSTER, show_default=True, help="Name of the cluster.")
@click.option("--no-cluster", is_flag=True, help="Create no cluster: only serve the API.")
@click.option(
    "--pool", metavar="NAME", help="Also create a transaction pool, and let DATABASE_URL connect through it."
)
@click.option("--pool-size", metavar="N", type=click.IntRange(min=1), default=10, show_default=True)
@click.option(
    "--size", metavar="SIZE", default="db-s-1vcpu-1gb", show_default=True, help="Size of the cluster."
)
@click.option("--version", metavar="VERSION", help="Major version of PostgreSQL.  [default: the newest here]")
@click.option(
    "--postgres-dir",
    multiple=True,
    type=_DIRECTORY,
    help="PostgreSQL installation outside the standard locations; repeatable.",
)
@click.option(
    "--pgbouncer", type=click.Path(dir_okay=False, path_type=Path), help="PgBouncer program to use."
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[--] [COMMAND [ARGUMENT]...]")
def command(
    command: tuple[str, ...],
    no_cluster: bool,
    postgres_dir: tuple[Path, ...],
    pgbouncer: Path | None,
    **wanted: Any,
) -> None:
    """Run a command with a temporary service and cluster, and return its exit code.

    The command gets DATABASE_URL, PGHOST and the others of libpq, and the variables of 'cenote env'.  When it
    ends, or is killed, the service and all its servers and files are removed.  Without COMMAND: $SHELL.
    """
    typed = command or (os.environ.get("SHELL") or "/bin/sh",)
    _check(typed[0])
    job = Job(
        command=typed,
        service=_service_options(postgres_dir, pgbouncer),
        prepare=lambda layout: (
            _variables(layout) if no_cluster else _prepared(layout, announced=not command, **wanted)
        ),
        removed=() if no_cluster else LEADING_ELSEWHERE,
    )
    sys.exit(command_run.run(job))


def _check(program: str) -> None:
    """Exit as a shell does, before anything is started, when there is no such program."""
    if shutil.which(program) is not None:
        return
    is_there = os.sep in program and os.path.exists(program)
    click.echo(f"cenote: {program}: {'cannot be executed' if is_there else 'command not found'}", err=True)
    sys.exit(CANNOT_RUN if is_there else NOT_FOUND)


def _service_options(postgres_dirs: tuple[Path, ...], pgbouncer: Path | None) -> tuple[str, ...]:
    options = ["--port=0", "--requests-per-hour=0", "--requests-per-minute=0"]
    options += [f"--postgres-dir={absolute(path)}" for path in postgres_dirs]
    return (*options, *([] if pgbouncer is None else [f"--pgbouncer={absolute(pgbouncer)}"]))


def _variables(layout: Layout) -> dict[str, str]:
    """Return the variables for the service alone."""
    variables = env.exports(layout)
    # So that 'cenote stop' and 'cenote keys' in the command do not reach another service of this user.
    variables["CENOTE_DATA_DIR"] = str(layout.data_dir)
    if any(name.lower().endswith("_proxy") for name in os.environ):
        for name in ("no_proxy", "NO_PROXY"):
            variables[name] = ",".join(filter(None, (os.environ.get(name), "localhost,127.0.0.1,::1")))
    return variables


def _prepared(
    layout: Layout,
    *,
    announced: bool,
    cluster: str,
    pool: str | None,
    pool_size: int,
    size: str,
    version: str | None,
) -> dict[str, str]:
    """Create the cluster and the pool; return all variables."""
    from cenote.cli.ca import ca_certificate  # after the fork: the front needs no HTTP client
    from cenote.cli.uri import connection_target
    from cenote_client import Client

    variables = _variables(layout)
    authority = layout.data_dir / "cluster-ca.crt"
    with Client(
        variables["DIGITALOCEAN_TOKEN"],
        endpoint=variables["DIGITALOCEAN_API_URL"],
        verify=variables["SSL_CERT_FILE"],
    ) as client:
        wanted: Any = {"name": cluster, "engine": "pg", "num_nodes": 1, "region": "nyc1", "size": size}
        wanted |= {} if version is None else {"version": version}
        made = client.databases.create_cluster(wanted)["database"]
        client.databases.wait_until_online(made["id"], timeout=ONLINE_SECONDS)
        files.write(authority, ca_certificate(client, made["id"]).encode("ascii"), 0o644, None)
        direct = target = connection_target(client, made, None)
        if pool is not None:
            client.databases.add_connection_pool(
                made["id"],
                {
                    "name": pool,
                    "mode": "transaction",
                    "size": pool_size,
                    "db": "defaultdb",
                    "user": "doadmin",
                },
            )
            target = connection_target(client, made, pool)
    if announced:
        click.echo(
            f"cenote: cluster {cluster} of {variables['DIGITALOCEAN_API_URL']} is in DATABASE_URL and "
            "PGHOST; leave the shell to remove everything",
            err=True,
        )
    variables["CENOTE_CLUSTER_ID"] = str(made["id"])
    return variables | _of_drivers(layout, authority, direct, target)


def _of_drivers(layout: Layout, authority: Path, direct: Target, target: Target) -> dict[str, str]:
    """Return the variables of drivers; Node.js trusts the cluster's CA beside that of the API."""
    both = layout.data_dir / "node-ca.crt"
    files.write(both, layout.authority.read_bytes() + authority.read_bytes(), 0o644, None)
    return libpq_variables(target, authority) | {
        "DATABASE_URL": connection_formats.libpq(target),
        "DIRECT_URL": connection_formats.libpq(direct),
        "NODE_EXTRA_CA_CERTS": str(both),
    }
