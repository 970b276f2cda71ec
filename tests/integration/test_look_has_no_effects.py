"""A settled cluster is looked at without any effect on the machine, as the kernel sees it (strace)."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service import added_pool, online_cluster, service
from tests.support.waiting import wait_until

pytestmark = pytest.mark.long

SECONDS = 60  # three passes over each cluster
OPENS = "open,openat,openat2,creat"
CHANGES = "bind,rename,renameat,renameat2,unlink,unlinkat,link,linkat,mkdir,mkdirat,rmdir,ftruncate"
WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC")


@contextlib.contextmanager
def traced(pid: int, trace: Path) -> Iterator[None]:
    """Note what a process and its threads do to files and addresses."""
    command = [
        "strace",
        "-f",
        "-qq",
        "-y",
        "-e",
        f"trace={OPENS},{CHANGES}",
        "-o",
        str(trace),
        "-p",
        str(pid),
    ]
    with subprocess.Popen(command) as process:
        try:
            wait_until("strace is attached", 20, lambda: _tracer(pid) == process.pid)
            yield
        finally:
            process.send_signal(signal.SIGINT)


def _tracer(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^TracerPid:\s+(\d+)$", status, re.MULTILINE)[1])  # type: ignore[index]


def effects(trace: Path, data_dir: Path) -> list[str]:
    """Return the calls that have changed something, or could have: of opened files those below the data
    directory."""
    found = []
    for line in trace.read_text(errors="replace").splitlines():
        call = line.split(maxsplit=1)[-1]
        if not call.startswith(("open", "creat")):
            if "(" in call and not call.startswith(("+++", "---")):
                found.append(line)
        elif WRITES.search(call) and str(data_dir) in call:
            found.append(line)
    return found


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_looking_at_a_settled_cluster_has_no_effect_on_the_machine(tmp_path: Path) -> None:
    with service() as running, running.client() as client:
        cluster = online_cluster(client, "settled")
        added_pool(client, cluster["id"], "a-pool")
        wait_until("the spare template is there", 30, lambda: _is_quiet(running.data_dir))
        trace = tmp_path / "trace"
        agent = running.child("agent")
        assert agent is not None
        with traced(agent, trace):
            time.sleep(SECONDS)
        calls = trace.read_text(errors="replace")
        assert "postmaster.pid" in calls, "it was not looked at"
        assert effects(trace, running.data_dir) == []


def test_what_changes_something_is_found_in_a_trace(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    trace.write_text(
        f'1 openat(AT_FDCWD, "{tmp_path}/stamp", O_RDONLY|O_CLOEXEC) = 7<{tmp_path}/stamp>\n'
        f'1 openat(AT_FDCWD, "/proc/net/tcp", O_RDONLY|O_CLOEXEC) = 7\n'
        f'1 openat(AT_FDCWD, "{tmp_path}/stamp", O_WRONLY|O_CREAT, 0600) = 7\n'
        f'1 openat2(AT_FDCWD, "{tmp_path}/stamp", {{flags=O_RDONLY, resolve=RESOLVE_NO_SYMLINKS}}, 24)\n'
        f'1 openat2(AT_FDCWD, "{tmp_path}/log", {{flags=O_RDWR, resolve=RESOLVE_NO_SYMLINKS}}, 24)\n'
        "1 bind(9, {sa_family=AF_INET, sin_port=htons(5432)}, 16) = 0\n"
        f'1 rename("{tmp_path}/a", "{tmp_path}/b") = 0\n'
        "1 +++ exited with 0 +++\n"
    )
    assert [line.split()[1][:4] for line in effects(trace, tmp_path)] == ["open", "open", "bind", "rena"]


def _is_quiet(data_dir: Path) -> bool:
    """Whether nothing below the data directory was changed by us in the last seconds."""
    folders = [data_dir / "templates", data_dir / "run", data_dir / "clusters"]
    return all(time.time() - os.stat(folder).st_mtime > 3 for folder in folders)
