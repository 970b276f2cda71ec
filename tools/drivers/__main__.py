"""Try database drivers through a pool: does each client get the answers to its own queries?

    python -m tools.drivers URI                   with what this machine has
    python -m tools.drivers URI --root FOLDER     with what is installed in a system below FOLDER

Eight clients at once ask for numbers that tell client, query and round, through fewer server connections
than there are clients, and free statements in between.  A line for each driver and switch says how many
answers were right, how many were those of another query, and how many queries failed, with the first error.
The cluster needs a table for ActiveRecord:

    CREATE TABLE driver_parts AS SELECT id, 'part ' || id AS name, id AS weight FROM generate_series(1, 8) id;
    ALTER TABLE driver_parts ADD PRIMARY KEY (id);

For the drivers of a release of Debian, make a system with debootstrap, and install there libdbd-pg-perl,
python3-psycopg, python3-psycopg2, python3-asyncpg, python3-pg8000, python3-pyodbc, odbc-postgresql,
ruby-activerecord, ruby-pg, php-pgsql, node-pg, libpostgresql-jdbc-java with a JDK, golang-go,
golang-github-lib-pq-dev and golang-github-jackc-pgx-v4-dev.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

HERE = Path(__file__).parent
CLIENTS, ROUNDS = 8, 50
PREPARE_SECONDS, RUN_SECONDS = 8, 120
BUILDS = {
    "lib-pq": "go build -o lib-pq go_driver.go go_pq.go",
    "pgx-v4": "go build -o pgx-v4 go_driver.go go_pgx_v4.go",
    "Jdbc.class": "javac Jdbc.java",
}
JDBC = "java -XX:TieredStopAtLevel=1 -cp /usr/share/java/postgresql.jar:. Jdbc"
CASES: dict[str, tuple[str, ...]] = {
    "perl dbd_pg.pl": ("plain", "no-prepare", "skip-deallocate"),
    "./lib-pq": ("plain", "binary_parameters=yes"),
    "./pgx-v4": (
        *("plain", "statement_cache_capacity=0", "statement_cache_capacity=1"),
        *("statement_cache_mode=describe", "prefer_simple_protocol=true"),
    ),
    "ruby ruby_pg.rb": ("plain", "named"),
    "ruby activerecord.rb": ("plain", "evicting", "no-prepare"),
    "php pdo.php": ("plain", "disable-prepares", "emulate"),
    "node node_pg.js": ("plain", "named"),
    "node postgres_js.mjs": ("plain", "no-prepare"),
    JDBC: ("plain", "always-prepared"),
    "python3 python_drivers.py psycopg": ("plain", "no-prepare", "evicting"),
    "python3 python_drivers.py psycopg2": ("plain",),
    "python3 python_drivers.py asyncpg": ("plain", "no-cache", "evicting"),
    "python3 python_drivers.py pg8000": ("plain", "transactions"),
    "python3 python_drivers.py odbc": ("plain", "no-prepare"),
}


def variables(uri: str) -> dict[str, str]:
    """Return libpq's variables for a URI, which the other drivers' programs read, too."""
    parts = urlsplit(uri)
    return {
        "PGHOST": parts.hostname or "localhost",
        "PGPORT": str(parts.port or 5432),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": unquote(parts.path.lstrip("/")),
        "PGSSLMODE": "require",
    }


def started(command: str, root: Path, folder: Path, **environment: str) -> subprocess.Popen[str]:
    inside = f"cd /{folder.relative_to(root)} && exec {command}"
    enter = ["chroot", str(root)] if root != Path("/") else []
    known = {"PATH": os.environ["PATH"], "HOME": f"/{folder.relative_to(root)}", "LC_ALL": "C.UTF-8"}
    go = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode"}
    return subprocess.Popen(
        [*enter, "sh", "-c", inside],
        env=known | go | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def tried(command: str, root: Path, folder: Path, uri: str, prepare_seconds: float = PREPARE_SECONDS) -> str:
    """Run the clients of one driver and switch, which begin together after some seconds; return the line."""
    begin = str(time.time() + prepare_seconds)
    clients = [
        started(command, root, folder, **variables(uri), CLIENT=str(number), ROUNDS=str(ROUNDS), AT=begin)
        for number in range(1, CLIENTS + 1)
    ]
    totals, first, lost = [0, 0, 0], "", ""
    for client in clients:
        try:
            out, complaint = client.communicate(timeout=RUN_SECONDS)
        except subprocess.TimeoutExpired:
            client.kill()
            out, complaint = client.communicate()
        words = out.split(maxsplit=3)
        if client.returncode != 0 or len(words) < 3:
            lost = (
                complaint.strip().splitlines()[-1] if complaint.strip() else f"exit code {client.returncode}"
            )
            continue
        totals = [total + int(word) for total, word in zip(totals, words[:3], strict=True)]
        first = first or "".join(words[3:]).strip()
    right, wrong, failed = totals
    return f"{right} right, {wrong} of another query, {failed} failed  {first or lost}".rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description="Try database drivers through a pool.")
    parser.add_argument("uri", help="that of a pool; its size should be smaller than the number of clients")
    parser.add_argument("--root", type=Path, default=Path("/"), help="a system with the drivers")
    parser.add_argument("--only", default="", help="cases whose command contains this")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.root / "tmp") as made:
        folder = Path(made)
        shutil.copytree(HERE, folder, dirs_exist_ok=True)
        for command in BUILDS.values():
            started(command, given.root, folder).communicate(timeout=600)
        for command, cases in CASES.items():
            for case in cases:
                if given.only in f"{command} {case}":
                    print(f"{command} {case}: {tried(f'{command} {case}', given.root, folder, given.uri)}")
                    sys.stdout.flush()


if __name__ == "__main__":
    main()
