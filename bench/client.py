"""Our clients against the official ``pydo``, each installed from wheels into an environment of its own.

Both sides run the same script where possible: ``from pydo import Client`` imports the official package in one
environment and our drop-in in the other.  Every sample is a new process; pairs ran right after each other.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.row import Aim, Missing, Row, ratio_at_most
from cenote.security import certificates
from tests.support.built import installed, wheels
from tests.support.official_pydo import official_python
from tests.support.service import clean_environment

ROUNDS = 5
CALLS = 400
WARM_UP = 50
CONNECTION = {
    "protocol": "postgresql",
    "uri": "postgres://doadmin:AVNS_bKd3kXN0aXMuR3Qx@localhost:25061/backend-pool?sslmode=require",
    "database": "backend-pool",
    "host": "localhost",
    "port": 25061,
    "user": "doadmin",
    "password": "AVNS_bKd3kXN0aXMuR3Qx",
    "ssl": True,
}
POOL = {
    "pool": {
        "user": "doadmin",
        "name": "backend-pool",
        "size": 10,
        "db": "defaultdb",
        "mode": "transaction",
        "connection": CONNECTION,
        "private_connection": CONNECTION,
    }
}
PATH = "/v2/databases/9cc10173-e9ea-4176-9dbc-a4cee4c4ff30/pools/backend-pool"

# Of this process alone: ru_maxrss of getrusage includes the peak of the parent process at the fork.
PEAK = """
with open("/proc/self/status") as status:
    (peak,) = (int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
"""
IMPORT = f"""
import json, time
began = time.perf_counter()
from pydo import Client
spent = time.perf_counter() - began
{PEAK}
print(json.dumps([spent * 1000, peak]))
"""
FIRST = f"""
import json, sys
from pydo import Client
client = Client("cenote_v1_x", endpoint=sys.argv[1], connection_verify=sys.argv[2])
assert client.databases.get_connection_pool("9cc10173-e9ea-4176-9dbc-a4cee4c4ff30", "backend-pool")["pool"]
{PEAK}
print(json.dumps(peak))
"""
LOOP = """
for _ in range({warm_up}): assert call()["pool"]
began = time.perf_counter()
for _ in range({calls}): call()
print(json.dumps((time.perf_counter() - began) / {calls} * 1e6))
"""
WITH_PYDO = """
import json, sys, time
from pydo import Client
get = Client("cenote_v1_x", endpoint=sys.argv[1], connection_verify=sys.argv[2]).databases.get_connection_pool
call = lambda: get("9cc10173-e9ea-4176-9dbc-a4cee4c4ff30", "backend-pool")
"""
WITH_CENOTE_CLIENT = """
import json, sys, time
from cenote_client import Client
get = Client("cenote_v1_x", endpoint=sys.argv[1], verify=sys.argv[2]).databases.get_connection_pool
call = lambda: get("9cc10173-e9ea-4176-9dbc-a4cee4c4ff30", "backend-pool")
"""
WITH_HTTPX = """
import json, ssl, sys, time, httpx
trusted = ssl.create_default_context(cafile=sys.argv[2])
get = httpx.Client(verify=trusted, headers={{"authorization": "Bearer cenote_v1_x"}}).get
call = lambda: get(sys.argv[1] + "{path}").json()
"""
WITH_HTTP_CLIENT = """
import http.client, json, ssl, sys, time
trusted = ssl.create_default_context(cafile=sys.argv[2])
connection = http.client.HTTPSConnection(sys.argv[1].removeprefix("https://"), context=trusted)
def call():
    connection.request("GET", "{path}", headers={{"authorization": "Bearer cenote_v1_x"}})
    return json.loads(connection.getresponse().read())
"""


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="cenote-bench-") as name:
        folder = Path(name)
        try:
            sides = Sides(installed(folder / "venv", wheels(folder)), official_python())
        except pytest.skip.Exception as skipped:
            raise Missing(str(skipped)) from None
        without = ("-B", "-X", f"pycache_prefix={folder / 'empty'}")
        with _answering(folder) as server:
            return [
                *_imports(sides, "with byte code"),
                *_imports(sides, "without byte code", *without),
                *_first_answers(sides, server),
                *_calls(sides, server),
                _size(sides),
            ]


@dataclass(frozen=True)
class Sides:
    """The interpreters of the two environments."""

    ours: Path
    official: Path


@dataclass(frozen=True)
class Server:
    """The URL of the server, and the CA certificates to trust."""

    url: str
    ca_file: str


def _imports(sides: Sides, words: str, *options: str) -> Iterator[Row]:
    def sample(python: Path) -> Callable[[], list[float]]:
        return lambda: list(_answer(python, IMPORT, options=options))

    ours, official = _interleaved(sample(sides.ours), sample(sides.official))
    for number, what, unit in ((0, "import", "ms"), (1, "memory after import", "MB")):
        yield Row(
            f"pydo: {what}, {words} / official",
            unit,
            [measured[number] for measured in ours],
            [measured[number] for measured in official],
            (ratio_at_most(0.5),),
        )


def _first_answers(sides: Sides, server: Server) -> Iterator[Row]:
    def sample(python: Path) -> Callable[[], tuple[float, float]]:
        def whole() -> tuple[float, float]:
            began = time.perf_counter()
            memory = float(_answer(python, FIRST, server))
            return (time.perf_counter() - began) * 1000, memory

        return whole

    ours, official = _interleaved(sample(sides.ours), sample(sides.official))
    for number, what, unit, aims in (
        (0, "from start of process to first answer", "ms", (ratio_at_most(0.5),)),
        (1, "memory after a first answer", "MB", ()),
    ):
        yield Row(
            f"pydo: {what} / official",
            unit,
            [measured[number] for measured in ours],
            [measured[number] for measured in official],
            aims,
        )


def _calls(sides: Sides, server: Server) -> Iterator[Row]:
    def call(python: Path, script: str) -> Callable[[], float]:
        text = script.format(path=PATH) + LOOP.format(warm_up=WARM_UP, calls=CALLS)
        return lambda: float(_answer(python, text, server))

    drop_in, ours, official, httpx, bare = _interleaved(
        call(sides.ours, WITH_PYDO),
        call(sides.ours, WITH_CENOTE_CLIENT),
        call(sides.official, WITH_PYDO),
        call(sides.ours, WITH_HTTPX),
        call(sides.ours, WITH_HTTP_CLIENT),
    )

    def row(name: str, mine: list[float], floor: list[float], *aims: Aim) -> Row:
        return Row(f"call on a kept connection: {name}", "µs", mine, floor, aims)

    yield row("pydo / official", drop_in, official, ratio_at_most(0.4))
    yield row("cenote_client / official pydo", ours, official, ratio_at_most(0.4))
    yield row("cenote_client / bare httpx", ours, httpx, ratio_at_most(1.25))
    yield row("cenote_client / http.client", ours, bare)


def _size(sides: Sides) -> Row:
    ours = [_installed_size(sides.ours, "cenote_client") + _installed_size(sides.ours, "pydo")]
    official = [_installed_size(sides.official, "pydo")]
    return Row("pydo: installed size / official", "MB", ours, official, (ratio_at_most(1 / 50),))


def _installed_size(python: Path, package: str) -> float:
    """Return the megabytes of a package without dependencies and byte code."""
    (folder,) = python.parents[1].glob(f"lib/python*/site-packages/{package}")
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return sum(path.stat().st_size for path in files) / 1e6


def _interleaved(*sides: Callable[[], Any]) -> list[list[Any]]:
    """Take alternating samples of both sides; the first round only warms the caches."""
    rounds = [[side() for side in sides] for _ in range(ROUNDS + 1)]
    return [list(samples) for samples in zip(*rounds[1:], strict=True)]


def _answer(python: Path, script: str, server: Server | None = None, options: tuple[str, ...] = ()) -> Any:
    arguments = [server.url, server.ca_file] if server else []
    command = [str(python), "-I", *options, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout)


@contextmanager
def _answering(folder: Path) -> Iterator[Server]:
    """Run a server whose response is the pool."""
    certificate, key = certificates.new_authority("bench")
    (folder / "ca.crt").write_text(certificate)
    (folder / "server.pem").write_bytes(certificates.issue(certificate, key, ["localhost"]))
    (folder / "body").write_text(json.dumps(POOL))
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.answering", str(folder / "server.pem"), str(folder / "body")],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield Server(f"https://localhost:{port}", str(folder / "ca.crt"))
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
