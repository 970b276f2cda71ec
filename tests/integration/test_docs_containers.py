"""docs/containers.md as far as Linux goes without a container runtime: namespaces and capabilities."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import yaml

from cenote.host import processes
from tests.integration.test_serve_plain_user import USER, as_user
from tests.support.folders import server_folder
from tests.support.pages import DOCS, blocks
from tests.support.service import (
    CENOTE,
    SMALLEST,
    Service,
    added_pool,
    answer_of,
    clean_environment,
    online_cluster,
    tried,
)
from tests.support.waiting import wait_until

PAGE = "containers.md"
BLOCKS = {block.title: block.text for block in blocks(PAGE)}
NOT_RUN = {
    "Dockerfile": "it needs a container runtime",
    "docker run": "the same",
    "cenote.yaml": "it needs Kubernetes; a test reads it",
}
# What Docker leaves to root by default, and what the page adds.
DEFAULT = [
    *("audit_write", "chown", "dac_override", "fowner", "fsetid", "kill", "mknod", "net_bind_service"),
    *("net_raw", "setfcap", "setgid", "setpcap", "setuid", "sys_chroot"),
]
ADDED = re.findall(r"--cap-add (\w+)", BLOCKS["docker run"])
START_SECONDS = 60


class Container:
    """The script of the page as the first process of namespaces of its own.

    ``privileges``: the command that takes away what a container's first process does not have.  ``programs``:
    where its ``cenote`` is.
    """

    def __init__(self, data_dir: Path, privileges: list[str], programs: Path = Path(CENOTE).parent) -> None:
        self.service = Service(data_dir)
        self._privileges = privileges
        self._programs = programs
        self._outer: subprocess.Popen[bytes] | None = None

    def start(self, hostname: str) -> None:
        service = self.service
        options = f"--port {service.api_port} --log-level info"
        script = BLOCKS["entrypoint.sh"].replace("cenote serve", f"cenote serve {options}")
        script = script.replace("25060-25089", f"{service.first_port}-{service.api_port - 1}")
        with (service.data_dir / "serve.log").open("ab") as log:
            self._outer = subprocess.Popen(
                [
                    *(
                        "unshare",
                        "--pid",
                        "--fork",
                        "--kill-child=SIGKILL",
                        "--mount-proc",
                        "--uts",
                        "sh",
                        "-c",
                    ),
                    'hostname "$1"; shift; exec "$@"',
                    *("sh", hostname, *self._privileges),
                    *("sh", "-c", script),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=clean_environment()
                | {
                    "PATH": f"{self._programs}:{os.environ['PATH']}",
                    "CENOTE_DATA_DIR": str(service.data_dir),
                    "PUBLIC_HOST": "localhost",
                    "PYTHONUNBUFFERED": "1",
                },
            )
        seen = service.log().count("Cenote serves")
        wait_until("the service is up", START_SECONDS, lambda: service.log().count("Cenote serves") > seen)

    def signal(self, number: signal.Signals) -> None:
        """Signal the first process, and wait until the namespace is gone."""
        assert self._outer is not None
        [first] = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
        os.kill(int(first), number)
        self._outer.wait(timeout=120)

    def destroy(self) -> None:
        if self._outer is not None and self._outer.poll() is None:
            self.signal(signal.SIGKILL)


def root_with(capabilities: list[str]) -> list[str]:
    kept = ",".join(f"+{name.lower()}" for name in capabilities)
    return ["setpriv", f"--bounding-set=-all,{kept}", "--no-new-privs"]


@contextlib.contextmanager
def container(capabilities: list[str]) -> Iterator[Container]:
    with data_folder() as data_dir, running(Container(data_dir, root_with(capabilities))) as created:
        yield created


@contextlib.contextmanager
def container_of_a_plain_user() -> Iterator[Container]:
    privileges, number = as_user(), pwd.getpwnam(USER).pw_uid
    own = privileges.index("env")
    with data_folder() as data_dir:
        os.chown(data_dir, number, -1)
        programs = data_dir.parent / "bin"
        programs.mkdir()
        programs.chmod(0o755)
        (programs / "cenote").write_text(f'#!/bin/sh\nexec {shlex.join(privileges[own:])} "$@"\n')
        (programs / "cenote").chmod(0o755)
        with running(Container(data_dir, [*privileges[:own], "--no-new-privs"], programs)) as created:
            yield created


@contextlib.contextmanager
def data_folder() -> Iterator[Path]:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv")
    if subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", "--uts", "true"], check=False
    ).returncode:
        pytest.skip("needs to be allowed namespaces")
    with server_folder() as folder:
        data_dir = folder / "data"
        data_dir.mkdir(mode=0o711)
        yield data_dir


@contextlib.contextmanager
def running(created: Container) -> Iterator[Container]:
    try:
        yield created
    finally:
        created.destroy()


def postgresql_log(running: Service) -> str:
    [path] = running.data_dir.glob("clusters/*/postgresql.log")
    return path.read_text(errors="replace").replace("\0", "")


def test_a_stopped_container_shuts_its_databases_down_and_a_killed_one_recovers() -> None:
    with container([*DEFAULT, *ADDED]) as box:
        box.start("cenote")
        service = box.service
        with service.client() as client:
            cluster = online_cluster(client, "backend")
            pool = added_pool(client, cluster["id"], "backend-pool")["connection"]["uri"]
        with psycopg.connect(cluster["connection"]["uri"]) as connection:
            connection.execute("CREATE TABLE parts AS SELECT generate_series(1, 42) AS id")
        ask = "SELECT count(*) FROM parts"

        box.signal(signal.SIGTERM)
        assert processes.below(service.data_dir) == []
        assert postgresql_log(service).rstrip().endswith("database system is shut down")

        box.start("cenote")
        wait_until("the pool answers", 60, lambda: tried(pool, ask) == 42)
        assert "automatic recovery" not in postgresql_log(service)

        box.signal(signal.SIGKILL)
        wait_until("all has ended", 60, lambda: processes.below(service.data_dir) == [])
        box.start("cenote")
        wait_until("the pool answers", 60, lambda: tried(pool, ask) == 42)
        assert "automatic recovery" in postgresql_log(service)


def test_a_plain_user_needs_no_capability() -> None:
    with container_of_a_plain_user() as box:
        box.start("cenote")
        with box.service.client() as client:
            cluster = online_cluster(client, "backend")
            pool = added_pool(client, cluster["id"], "backend-pool")["connection"]["uri"]
        assert answer_of(pool) == 42
        box.signal(signal.SIGTERM)
        assert processes.below(box.service.data_dir) == []
        assert postgresql_log(box.service).rstrip().endswith("database system is shut down")


def test_a_container_of_another_name_runs_the_clusters_all_the_same() -> None:
    with container([*DEFAULT, *ADDED]) as box:
        box.start("cenote")
        with box.service.client() as client:
            uri = online_cluster(client, "backend")["connection"]["uri"]
        box.signal(signal.SIGTERM)
        box.start("another")
        with box.service.client() as client:
            later = online_cluster(client, "later")["connection"]["uri"]
        assert answer_of(later) == 42
        wait_until("the cluster runs on", 30, lambda: tried(uri) == 42)


def test_without_the_added_capability_no_cluster_comes_online() -> None:
    [said] = re.findall(r"with the reason `([^…`]*)…", (DOCS / PAGE).read_text())
    with container(DEFAULT) as box:
        box.start("cenote")
        with box.service.client() as client:
            client.request("POST", "/v2/databases", json=SMALLEST | {"name": "backend"})

            def is_said() -> bool:
                [found] = client.databases.iter_clusters()
                assert found["status"] == "creating"
                return str(found["cenote"]["reason"]).startswith(said)

            wait_until("the reason is shown", 60, is_said)


def test_the_manifest_has_what_the_page_asks_for() -> None:
    workload, service = yaml.safe_load_all(BLOCKS["cenote.yaml"])
    pod = workload["spec"]["template"]["spec"]
    assert workload["spec"]["replicas"] == 1
    assert pod["containers"][0]["securityContext"]["capabilities"]["add"] == ADDED
    mounted = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounted == {"/var/lib/cenote", "/dev/shm"}
    assert "livenessProbe" not in pod["containers"][0]
    assert service["spec"]["clusterIP"] == "None"


def test_every_block_of_the_page_is_run_or_has_a_reason_why_not() -> None:
    assert BLOCKS.keys() == {*NOT_RUN, "entrypoint.sh"}
