"""``cenote psql``: psql on a cluster or pool, with sslmode=verify-full.

The password is passed in the environment: other users can read a process's arguments, not its environment.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import click

from cenote.cli import suggestions
from cenote.cli.ca import ca_certificate
from cenote.cli.cluster_argument import cluster_argument
from cenote.cli.lookup import find_cluster
from cenote.cli.printer import CommandError
from cenote.cli.service_client import client_for
from cenote.cli.uri import connection_target
from cenote.host import files
from cenote.model import environment
from cenote.model.connection_formats import Target
from cenote.model.paths import Layout

# Variables of libpq that would take the connection elsewhere, or refuse the server there.
LEADING_ELSEWHERE = (
    *(
        "PGSERVICE",
        "PGHOSTADDR",
        "PGREQUIREPEER",
        "PGREQUIREAUTH",
        "PGTARGETSESSIONATTRS",
        "PGLOADBALANCEHOSTS",
    ),
    *("PGSSLCERT", "PGSSLKEY", "PGSSLCRL", "PGSSLCRLDIR", "PGSSLNEGOTIATION", "PGGSSENCMODE"),
)


@click.command()
@cluster_argument
@click.option("--pool", metavar="POOL", shell_complete=suggestions.pools, help="Connect through this pool.")
@click.argument("arguments", nargs=-1, metavar="[-- PSQL_ARGUMENTS]")
def command(layout: Layout, cluster: str, pool: str | None, arguments: tuple[str, ...]) -> None:
    """Open psql on a cluster or one of its pools."""
    path = os.pathsep.join(filter(None, (os.environ.get("PATH"), environment.PATH)))
    program = shutil.which("psql", path=path)
    if program is None:
        raise CommandError("psql not found; install the package postgresql-client")
    with client_for(layout) as client:
        found = find_cluster(client, cluster)
        authority = _save_ca_certificate(found["id"], ca_certificate(client, found["id"]))
        target = connection_target(client, found, pool, authority)
    for name in LEADING_ELSEWHERE:
        os.environ.pop(name, None)
    os.environ |= libpq_variables(target, authority)
    os.execv(program, ["psql", *arguments])  # noqa: S606 - psql replaces this process and gets the terminal


def libpq_variables(target: Target, authority: Path) -> dict[str, str]:
    """Return the variables that have libpq connect there, and verify the server."""
    return {
        "PGHOST": target.host,
        "PGPORT": str(target.port),
        "PGDATABASE": target.database,
        "PGUSER": target.user,
        "PGPASSWORD": target.password,
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": str(authority),
    }


def _save_ca_certificate(uuid: str, authority: str) -> Path:
    """Cache the certificate in a file: psql replaces this process, so it cannot be a temporary one."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cenote"
    files.make_directory(cache, 0o700, None)
    path = cache / f"{uuid}.crt"
    files.write(path, authority.encode("ascii"), 0o600, None)
    return path
