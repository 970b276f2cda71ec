"""``cenote psql``: psql on a cluster or through a pool, with the certificate checked.

The password goes by the environment: everybody may read a process's arguments, nobody its variables.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import click

from cenote.cli.ca import authority_of
from cenote.cli.named import cluster_argument, cluster_of
from cenote.cli.output import CommandError
from cenote.cli.reach import client_for
from cenote.cli.uri import target_of
from cenote.model.paths import Layout


@click.command()
@cluster_argument
@click.option("--pool", help="Through this pool.")
@click.argument("arguments", nargs=-1, metavar="[-- PSQL_ARGUMENTS]")
def command(layout: Layout, cluster: str, pool: str | None, arguments: tuple[str, ...]) -> None:
    """Open psql on a cluster, or through one of its pools."""
    program = shutil.which("psql")
    if program is None:
        raise CommandError("psql is not on this machine; install the package postgresql-client")
    with client_for(layout) as client:
        found = cluster_of(client, cluster)
        authority = _kept(found["id"], authority_of(client, found["id"]))
        target = target_of(client, found, pool, authority)
    os.environ |= {
        "PGHOST": target.host,
        "PGPORT": str(target.port),
        "PGDATABASE": target.database,
        "PGUSER": target.user,
        "PGPASSWORD": target.password,
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": str(authority),
    }
    os.execv(program, ["psql", *arguments])  # noqa: S606 - psql takes our place, and the terminal


def _kept(uuid: str, authority: str) -> Path:
    """Keep the certificate where psql, which takes our place, can read it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cenote"
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = cache / f"{uuid}.crt"
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(authority)
    draft.replace(path)
    return path
