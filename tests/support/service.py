"""The real service as a process of its own, on ports and in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from cenote.host import processes
from cenote_client import Client
from tests.support.folders import server_folder
from tests.support.ports import free_range
from tests.support.waiting import wait_until

CENOTE = str(Path(sys.executable).with_name("cenote"))
CLUSTERS = 24  # how many clusters fit into a service's range of ports
START_SECONDS = 60


class Service:
    """``cenote serve`` with a data directory that outlives the process, as a machine's does."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.data_dir = data_dir
        self.first_port = free_range(2 * CLUSTERS + 1)
        self.api_port = self.first_port + 2 * CLUSTERS
        self._options = options
        self._log = data_dir / "serve.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the process and wait until it says that it serves."""
        seen = self.log().count("Cenote serves")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    CENOTE,
                    "serve",
                    f"--data-dir={self.data_dir}",
                    f"--port={self.api_port}",
                    f"--ports={self.first_port}-{self.api_port - 1}",
                    "--log-level=info",
                    *self._options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment() | {"PYTHONUNBUFFERED": "1"},
            )
        process = self._process

        def is_up() -> bool:
            assert process.poll() is None, (
                f"cenote serve ended with {process.returncode}:\n{self.log()[-4000:]}"
            )
            return self.log().count("Cenote serves") > seen

        wait_until("the service is up", START_SECONDS, is_up)

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End the process, politely or by SIGKILL; what it has started goes on.  Return its exit code."""
        assert self._process is not None
        self._process.send_signal(how)
        return self._process.wait(timeout=60)

    def stop(self) -> None:
        """``cenote stop``: the service and every server of it."""
        self.cenote("stop")
        if self._process is not None:
            self._process.wait(timeout=60)

    def cenote(self, *arguments: str) -> str:
        """Run a command on this data directory and return what it prints."""
        done = subprocess.run(
            [CENOTE, *arguments, f"--data-dir={self.data_dir}"],
            capture_output=True,
            text=True,
            env=_environment(),
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def environment(self) -> dict[str, str]:
        """Return what ``cenote env`` exports."""
        pairs = (line.removeprefix("export ").split("=", 1) for line in self.cenote("env").splitlines())
        return {name: shlex.split(value)[0] for name, value in pairs}

    def client(self, token: str | None = None) -> Client:
        """Return a client with the administrator's token, or another one."""
        variables = self.environment()
        return Client(
            token or variables["DIGITALOCEAN_TOKEN"],
            endpoint=variables["DIGITALOCEAN_API_URL"],
            verify=variables["SSL_CERT_FILE"],
        )

    def remains(self) -> list[str]:
        """Return the processes and folders of clusters that are there."""
        working = [
            f"{process.pid} {Path(f'/proc/{process.pid}/cmdline').read_text()}"
            for process in processes.below(self.data_dir / "clusters")
        ]
        folders = [
            str(path.relative_to(self.data_dir))
            for parent in ("clusters", "run")
            for path in sorted((self.data_dir / parent).glob("*"))
        ]
        return working + folders


@contextlib.contextmanager
def service(*options: str) -> Iterator[Service]:
    """A running service; at the end all of it is stopped and removed, and on failure its log is printed."""
    with server_folder() as folder:
        created = Service(folder / "data", *options)
        created.data_dir.mkdir(mode=0o711)
        created.data_dir.chmod(0o711)
        try:
            created.start()
            yield created
        except BaseException:
            sys.stderr.write(f"--- {created.data_dir}/serve.log\n{_without_secrets(created.log())[-8000:]}\n")
            raise
        finally:
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
                created.stop()
            for process in processes.below(folder):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)


def _environment() -> dict[str, str]:
    """Ours without what would point a command at another service."""
    return {name: value for name, value in os.environ.items() if not re.match("DIGITALOCEAN_|CENOTE_", name)}


def _without_secrets(log: str) -> str:
    return re.sub(r"dop_v1_\w+|SCRAM-SHA-256\$\S+", "…", log)
