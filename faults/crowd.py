"""All connections of a pool in use through the pooler of each host at once, while the primary fails.

Each pooler may open as many connections as the pool has, and after a failover all of them go to one server
together: none may be told that there are too many clients, by a pooler or in the server's log.
"""

from __future__ import annotations

import random
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cenote.model.records import LogSource
from faults.node_faults import AFTER_SECONDS
from tests.support import pgbench
from tests.support.trio import Trio

POOL, SIZE = "crowd", 15  # with the pool of the writers all connections that a cluster's pools may have
SECONDS = 2  # of each pgbench, so that those whose connections were lost come back
SCRIPT = "SELECT pg_sleep(0.01);\n"
TOO_MANY = ("too many clients", "remaining connection slots")


@contextmanager
def crowd(cluster: Trio, _chance: random.Random) -> Iterator[int | None]:
    """Kill the primary's server while as many clients as the pool has connections work through each host."""
    before = _refusals(cluster)
    with crowded(cluster.added_pool(POOL, SIZE)) as told:
        time.sleep(AFTER_SECONDS)
        cluster.kill(cluster.primary())
        yield None
        time.sleep(2 * AFTER_SECONDS)
    refused = [line for line in told if any(words in line for words in TOO_MANY)]
    assert not refused, f"a client was refused: {refused[0]}"
    after = _refusals(cluster)
    assert after <= before, f"servers have refused {after - before} connections: too many clients"
    assert any("number of transactions actually processed" in line for line in told), "nobody worked"


@contextmanager
def crowded(uris: Sequence[str]) -> Iterator[list[str]]:
    """Run pgbench through each of these again and again; yields what they print."""
    done, told = threading.Event(), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script"
        script.write_text(SCRIPT)
        threads = [threading.Thread(target=_bench, args=(uri, script, done, told)) for uri in uris]
        for thread in threads:
            thread.start()
        try:
            yield told
        finally:
            done.set()
            for thread in threads:
                thread.join()


def _bench(uri: str, script: Path, done: threading.Event, told: list[str]) -> None:
    while not done.is_set():
        ran = subprocess.run(
            [pgbench.program(), "-n", "-c", str(SIZE), "-T", str(SECONDS), "-f", str(script), uri],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        told += ran.stdout.splitlines()


def _refusals(cluster: Trio) -> int:
    """Return how often servers have refused a connection, as their logs say."""
    texts = [
        cluster.paths(node).log(LogSource.POSTGRES).read_text(errors="replace")
        for node in (cluster.primary(), *cluster.standbys())
    ]
    return sum(text.count(words) for text in texts for words in TOO_MANY)
