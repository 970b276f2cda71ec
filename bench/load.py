"""Load on an HTTPS server from wrk, over keep-alive connections.

A load generator in Python would be slower than the servers and hide the difference between ours and its
floor.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.row import Missing

CONNECTIONS = 16
SECONDS = 1  # many short alternating runs, so that other load affects both of a pair

_SCRIPT = """\
local paths = {}
for line in io.lines("%s") do paths[#paths + 1] = line end
local requests = {}
init = function(arguments)
  for i, path in ipairs(paths) do requests[i] = wrk.format("GET", path, {authorization = "%s"}) end
end
request = function() return requests[math.random(#requests)] end
"""
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True, slots=True)
class Load:
    """Requests per second, and the 99th percentile of the latency in milliseconds."""

    rate: float
    p99: float


def program() -> str:
    """Return the path of wrk; raise Missing if it is not installed."""
    found = shutil.which("wrk")
    if found is None:
        raise Missing("wrk is not installed; make setup-bench installs it")
    return found


class Wrk:
    """Requests these paths at random."""

    def __init__(self, folder: Path, paths: Sequence[str], token: str) -> None:
        self._program = program()
        listed = folder / "paths"
        listed.write_text("\n".join(paths) + "\n")
        # In a file, since all users of the machine could read the token among the arguments.
        self._script = folder / "wrk.lua"
        self._script.touch(mode=0o600)
        self._script.write_text(_SCRIPT % (listed, f"Bearer {token}"))

    def run(self, url: str) -> Load:
        """Run the load; raise RuntimeError if a response was not 2xx."""
        options = ["-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", "-s", str(self._script)]
        told = subprocess.run(
            [self._program, *options, url], capture_output=True, text=True, check=True
        ).stdout
        if "Non-2xx" in told or "Socket errors" in told:
            raise RuntimeError(f"not every request was answered well:\n{told}")
        rate = re.search(r"Requests/sec:\s+([\d.]+)", told)
        p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", told)
        if rate is None or p99 is None:
            raise RuntimeError(f"wrk says something unknown:\n{told}")
        return Load(float(rate[1]), float(p99[1]) * _UNITS[p99[2]])
