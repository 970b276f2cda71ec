"""PostgreSQL's own client programs, run as a customer runs them."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import Mapping

from cenote.model.records import ADMIN_USER, Cluster
from cenote.model.topology import writer_or_first
from tests.support import records
from tests.support.lab import Lab
from tests.support.service import clean_environment

SECONDS = 120
# What pg_dump writes for a database in which there is nothing.
_OF_EVERY_DUMP = re.compile(r"SET |SELECT pg_catalog\.set_config\('search_path'|\\(un)?restrict |--")


async def run_tool(lab: Lab, cluster: Cluster, program: str, *arguments: str, user: str = ADMIN_USER) -> str:
    """Run a program against a cluster's server; return what it prints, and fail if it fails."""
    folder = lab.host.binaries[lab.version]
    environment = addressed(cluster, user)
    done = await asyncio.to_thread(tried, str(folder / program), *arguments, environment=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def addressed(cluster: Cluster, user: str = ADMIN_USER) -> dict[str, str]:
    """Return the variables with which libpq's programs reach a cluster's server."""
    return {
        "PGHOST": "localhost",
        "PGPORT": str(writer_or_first(cluster).port),
        "PGUSER": user,
        "PGPASSWORD": records.PASSWORD,
        "PGSSLMODE": "require",
    }


def address(cluster: Cluster, user: str, database: str) -> str:
    """Return the same as one string, for a driver."""
    host = f"host=localhost port={writer_or_first(cluster).port} sslmode=require"
    return f"{host} user={user} password={records.PASSWORD} dbname={database}"


def tried(program: str, *arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**clean_environment(), "PATH": os.environ["PATH"], **environment},
        check=False,
        timeout=SECONDS,
    )


def dumped(text: str) -> list[str]:
    """Return the lines of a dump that make something."""
    return [line for line in text.splitlines() if line and not _OF_EVERY_DUMP.match(line)]
