"""Rolling restarts of three nodes under 20 writers in their pools: for settings, another size, and an update.

No query may fail, whatever of the service is killed meanwhile, and in the end all nodes have what is wanted.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cenote.host import programs
from faults.failover import Battery
from faults.node_faults import Fault
from faults.outcome import Outcome
from tests.support.fleet import fleet
from tests.support.folders import server_folder
from tests.support.trio import Trio, trio
from tests.support.waiting import wait_until

LONGEST = 240.0  # seconds of a rolling restart
FEW, MANY = 25, 60  # connections
SIZES = ("db-s-1vcpu-2gb", "db-s-1vcpu-1gb")
CHANGES = ("grow", "shrink", "size", "update")


def batteries(runs: int, seed: str) -> list[Outcome]:
    """Make so many changes, of each kind in turn; half of them while an agent or an API is killed."""
    chance = random.Random(f"{seed}-rolling")
    installed = programs.find().postgres
    with server_folder() as folder:
        bin = installed[max(installed, key=int)].bin
        (folder / "lib").symlink_to(bin.parent / "lib")  # where a server looks beside its programs
        binaries = Path(shutil.copytree(bin, folder / "bin"))
        with (
            fleet(3, f"--postgres-dir={binaries}", joined=True, clusters=4) as hosts,
            trio(hosts.hosts) as cluster,
        ):
            battery = Battery(cluster, Outcome("rolling restarts"))
            with battery.writing():
                for number, name in enumerate(itertools.islice(itertools.cycle(CHANGES), runs)):
                    fault = change(name, binaries, kills=number % 2 == 1)
                    battery.run(f"{name} {number + 1}", fault, chance, nothing_fails=True)
            return [battery.outcome]


def change(name: str, binaries: Path = Path(), *, kills: bool = False) -> Fault:
    """Return a change that restarts all servers; ``binaries`` are for an update alone."""

    @contextmanager
    def changed(cluster: Trio, chance: random.Random) -> Iterator[int | None]:
        started = _started(cluster)
        if name == "update":
            shutil.copy(binaries / "postgres", binaries / "new")
            (binaries / "new").rename(binaries / "postgres")
            wait_until("it is seen", LONGEST, lambda: cluster.shown()["maintenance_window"]["pending"])
            cluster.update()
        elif name == "size":
            cluster.resize(next(size for size in SIZES if size != cluster.shown()["size"]))
        else:
            cluster.configure(max_connections=_another(cluster, MANY if name == "grow" else FEW))
        timer = threading.Timer(chance.uniform(0.2, 10), _kill, (cluster, chance))
        if kills:
            timer.start()
        try:
            wait_until("it is in force", LONGEST, lambda: _is_in_force(cluster))
        finally:
            timer.cancel()
        after = _started(cluster)
        left = [node for node in started if after[node] == started[node]]
        assert not left, f"{', '.join(left)} was not restarted"
        values = {str(cluster.rows(node, "SHOW max_connections")) for node in after}
        assert len(values) == 1, f"the nodes differ: {values}"
        yield None

    return changed


def _another(cluster: Trio, connections: int) -> int:
    """Return this number, or one more if it is what is wanted already."""
    return connections + int(cluster.configured("max_connections") == connections)


def _is_in_force(cluster: Trio) -> bool:
    found = cluster.shown()
    waits = found["cenote"].get("not_in_force") or found["maintenance_window"]["pending"]
    return not waits and found["status"] == "online" and found["cenote"]["health"] == "healthy"


def _started(cluster: Trio) -> dict[str, str]:
    """Return when the server of each node was started."""
    nodes = [cluster.primary(), *cluster.standbys()]
    return {node: str(cluster.rows(node, "SELECT pg_postmaster_start_time()")) for node in nodes}


def _kill(cluster: Trio, chance: random.Random) -> None:
    pid = chance.choice(cluster.hosts).child(chance.choice(("agent", "api")))
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
