"""The real service as a process of its own, on ports and in a folder of its own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import shlex
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, LiteralString

import httpx
import psycopg

from cenote.errors import CenoteError
from cenote.host import processes, shutdown
from cenote.model.paths import Layout
from cenote.server import logins
from cenote.store.client import EtcdClient, LoginWanted
from cenote.store.process import PrivateEtcd
from cenote_client import Client
from tests.support.folders import server_folder
from tests.support.ports import free_range, give_back
from tests.support.waiting import wait_until

CENOTE = str(Path(sys.executable).with_name("cenote"))
CLUSTERS = 24  # how many clusters fit into a service's range of ports, unless a test says otherwise
START_SECONDS = 60
WITHOUT_LIMITS = ("--requests-per-hour=0", "--requests-per-minute=0")
SMALLEST = {"engine": "pg", "num_nodes": 1, "region": "nyc1", "size": "db-s-1vcpu-1gb"}


class Service:
    """``cenote serve`` with a data directory that outlives the process, as a machine's does."""

    def __init__(
        self,
        data_dir: Path,
        *options: str,
        command: Sequence[str] = (CENOTE,),
        environment: Mapping[str, str] | None = None,
        clusters: int = CLUSTERS,
        backups_by_default: bool = False,
    ) -> None:
        """Without ``backups_by_default`` it makes none unless an option says so: few tests are of them."""
        self.data_dir = data_dir
        self._backups_by_default = backups_by_default
        self.command = command
        self._environment = clean_environment() | dict(environment or {})
        self._ports = 3 * clusters + 1
        self.first_port = free_range(self._ports)
        self.api_port = self.first_port + 3 * clusters
        self._options = options
        self._log = data_dir / "serve.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._exports: dict[str, str] | None = None

    @property
    def hosts(self) -> Sequence[Service]:
        """Return all services that share its records, itself among them."""
        return (self,)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def child(self, name: str) -> int | None:
        """Return the pid of the ``agent`` or the ``api`` of the service, while it lives."""
        for pid in processes.children(self.pid):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().strip() == f"cenote-{name}":
                    return pid if processes.identify(pid) is not None else None
        return None

    def processes(self) -> dict[str, int]:
        """Return the pids of the service's processes that live."""
        found = {name: self.child(name) for name in ("agent", "api")}
        return {"supervisor": self.pid} | {name: pid for name, pid in found.items() if pid is not None}

    def start(self) -> None:
        """Start the process and wait until it says that it serves."""
        seen = self.log().count("Cenote serves")
        process = self.launch()

        def is_up() -> bool:
            assert process.poll() is None, (
                f"cenote serve ended with {process.returncode}:\n{self.log()[-4000:]}"
            )
            return self.log().count("Cenote serves") > seen

        wait_until("the service is up", START_SECONDS, is_up)

    def add_options(self, *options: str) -> None:
        """Give further options to the next start."""
        self._options = (*self._options, *options)

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process and wait for nothing."""
        is_former = CENOTE not in self.command  # and may not know the option
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self.command,
                    "serve",
                    f"--data-dir={self.data_dir}",
                    f"--port={self.api_port}",
                    f"--ports={self.first_port}-{self.api_port - 1}",
                    "--log-level=info",
                    *(() if self._backups_by_default or is_former else ("--backups=none",)),
                    *self._options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment | {"PYTHONUNBUFFERED": "1"},
            )
        return self._process

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End the process, politely or by SIGKILL; what it has started goes on.  Return its exit code."""
        assert self._process is not None
        self._process.send_signal(how)
        return self.wait()

    def wait(self) -> int:
        """Wait until the process ends; return its exit code."""
        assert self._process is not None
        return self._process.wait(timeout=60)

    def stop(self) -> None:
        """``cenote stop``: the service and every server of it."""
        self.cenote("stop")
        if self._process is not None:
            self._process.wait(timeout=60)

    def clean_up(self) -> None:
        """End the service and every server of it, whatever state they are in."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=60)
            self._process.kill()
            self._process.wait()
        # A thread of its own, since a browser's fixture has a loop in this one.
        with contextlib.suppress(CenoteError), ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, shutdown.stop_servers(Layout(self.data_dir))).result()
        give_back(self.first_port, self._ports)  # a run of all tests has more services than ports

    def cenote(self, *arguments: str) -> str:
        """Run a command on this data directory and return what it prints."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The same for a command that may be refused."""
        return subprocess.run(
            [*self.command, *arguments, f"--data-dir={self.data_dir}"],
            capture_output=True,
            text=True,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=120,
        )

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def environment(self) -> dict[str, str]:
        """Return what ``cenote env`` exports; the same while the data directory is there."""
        if self._exports is None:
            self._exports = exports_of(self.cenote("env"))
        return dict(self._exports)

    def forget_environment(self) -> None:
        """Ask for it again: the token may be another one."""
        self._exports = None

    def client(self, token: str | None = None) -> Client:
        """Return a client with the administrator's token, or another one; whoever asks for it closes it."""
        variables = self.environment()
        return Client(
            token or variables["DIGITALOCEAN_TOKEN"],
            endpoint=variables["DIGITALOCEAN_API_URL"],
            verify=variables["SSL_CERT_FILE"],
        )

    def servers(self) -> dict[str, int]:
        """Return the pids of the servers that work: PostgreSQL, PgBouncer and etcd of this data directory.

        With more than one cluster, those of the last one by name.
        """
        layout = Layout(self.data_dir)
        found = {}
        servers = [paths.server(Path()) for paths in layout.nodes()]
        for program in (*servers, *(paths.bouncer(Path("pgbouncer")) for paths in layout.hosted())):
            process = processes.find(program)
            if process is not None:
                found[program.name] = process.pid
        etcd = PrivateEtcd(layout.etcd).pid
        return found if etcd is None else found | {"etcd": etcd}

    def servers_of_clusters(self) -> dict[str, int]:
        """Return the pids of the servers of all clusters, by the folders that they work in."""
        layout = Layout(self.data_dir)
        programs = {str(paths.data): paths.server(Path()) for paths in layout.nodes()}
        programs |= {str(paths.pooler): paths.bouncer(Path("pgbouncer")) for paths in layout.hosted()}
        found = {folder: processes.find(program) for folder, program in programs.items()}
        return {folder: process.pid for folder, process in found.items() if process is not None}

    @contextlib.asynccontextmanager
    async def etcd_client(self) -> AsyncIterator[EtcdClient]:
        """A client of this service's etcd that may do everything, also when a former version runs it."""
        layout = Layout(self.data_dir)
        places = [PrivateEtcd(layout.etcd, clients=layout.etcd_client), PrivateEtcd(layout.etcd)]
        sockets = [place.socket for place in places if place.socket.exists()]
        client = EtcdClient(socket=sockets[0])
        try:
            await client.revision("/")
        except LoginWanted:
            await client.close()
            client = logins.root_client(sockets[0], logins.ensure_passwords(layout))
        try:
            yield client
        finally:
            await client.close()

    def remains(self) -> list[str]:
        """Return the processes and folders of clusters that are there."""
        working = [f"process {process.pid}" for process in processes.below(self.data_dir / "clusters")]
        folders = [
            str(path.relative_to(self.data_dir))
            for parent in ("clusters", "run")
            for path in sorted((self.data_dir / parent).glob("*"))
        ]
        return working + folders


@contextlib.contextmanager
def service(
    *options: str,
    on_disk: bool = False,
    command: Sequence[str] = (CENOTE,),
    environment: Mapping[str, str] | None = None,
    owner: int | None = None,
    clusters: int = CLUSTERS,
    backups_by_default: bool = False,
) -> Iterator[Service]:
    """A running service; at the end all of it is stopped and removed, and on failure its log is printed.

    It makes backups with the option, or with ``backups_by_default``.

    ``owner``: the user whose data directory it is, where that is not us.  ``clusters``: how many it has ports
    for.
    """
    with server_folder(on_disk=on_disk) as folder:
        created = Service(
            folder / "data",
            *options,
            command=command,
            environment=environment,
            clusters=clusters,
            backups_by_default=backups_by_default,
        )
        created.data_dir.mkdir(mode=0o711)
        created.data_dir.chmod(0o711)
        if owner is not None:
            os.chown(created.data_dir, owner, -1)
        try:
            created.start()
            yield created
        except BaseException:
            sys.stderr.write(f"--- {created.data_dir}/serve.log\n{_without_secrets(created.log())[-8000:]}\n")
            raise
        finally:
            created.clean_up()
            for process in processes.below(folder):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def ephemeral(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``cenote serve --ephemeral`` whose temporary data directory is in this folder."""
    first = free_range(4)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(CENOTE, "serve", "--ephemeral", "--port=0", f"--ports={first}-{first + 3}"),
                f"--env-file={folder / 'env'}",
            ],
            env=clean_environment() | {"TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=60)
        for left in processes.below(folder):
            os.kill(left.pid, signal.SIGKILL)


@contextlib.contextmanager
def calling(running: Service) -> Iterator[httpx.Client]:
    """A plain client: it tries nothing again, so that every request has one fate."""
    variables = running.environment()
    with httpx.Client(
        base_url=variables["DIGITALOCEAN_API_URL"],
        headers={"authorization": f"Bearer {variables['DIGITALOCEAN_TOKEN']}"},
        verify=ssl.create_default_context(cafile=variables["SSL_CERT_FILE"]),
        timeout=60,
    ) as http:
        yield http


def exports_of(text: str) -> dict[str, str]:
    """Return the variables that lines for a shell export."""
    pairs = (line.removeprefix("export ").split("=", 1) for line in text.splitlines())
    return {name: shlex.split(value)[0] for name, value in pairs}


def run_cenote(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command, with these variables besides ours, and return how it went."""
    return subprocess.run(
        [CENOTE, *arguments],
        capture_output=True,
        text=True,
        env=clean_environment() | environment,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=120,
    )


def online_cluster(client: Client, name: str, **fields: Any) -> Any:
    """Create a cluster of the smallest size and return it, as it is once it is online."""
    id = client.request("POST", "/v2/databases", json=SMALLEST | {"name": name} | fields)["database"]["id"]
    return online(client, id)


def online(client: Client, id: str) -> Any:
    """Return a cluster as soon as it is online and there is nothing left to do for it."""

    def ready() -> Any:
        cluster = client.request("GET", f"/v2/databases/{id}")["database"]
        return cluster if cluster["status"] == "online" and not cluster["cenote"]["reason"] else None

    return wait_until(f"cluster {id} is online", 60, ready)


def added_pool(client: Client, id: str, name: str, **fields: Any) -> Any:
    """Add a small transaction pool of the administrator's and return it."""
    wanted = {"name": name, "mode": "transaction", "size": 2, "db": "defaultdb", "user": "doadmin"} | fields
    return client.request("POST", f"/v2/databases/{id}/pools", json=wanted)["pool"]


def is_alive(connection: psycopg.Connection[Any]) -> bool:
    """Return whether a session still answers."""
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def ca_file(client: Client, id: str, folder: Path) -> str:
    """Write the certificate that the API gives for a cluster where a driver can be pointed at it."""
    encoded = client.request("GET", f"/v2/databases/{id}/ca")["ca"]["certificate"]
    path = folder / f"{id}.crt"
    path.write_bytes(base64.b64decode(encoded))
    return str(path)


def answer_of(uri: str, query: LiteralString = "SELECT 42", **parameters: Any) -> Any:
    """Connect, ask one question, and return the first value of the answer."""
    with psycopg.connect(uri, autocommit=True, connect_timeout=60, **parameters) as connection:
        row = connection.execute(query).fetchone()
        return None if row is None else row[0]


def tried(uri: str, query: LiteralString = "SELECT 42", **parameters: Any) -> Any:
    """The same for a server that may not be up: None when it does not answer."""
    try:
        return answer_of(uri, query, **parameters)
    except psycopg.OperationalError:
        return None


def clean_environment() -> dict[str, str]:
    """Ours without what points a command at another service, or has it compile its modules each time."""
    others = re.compile("DIGITALOCEAN_|CENOTE_|PYTHONDONTWRITEBYTECODE$")
    return {name: value for name, value in os.environ.items() if not others.match(name)}


def _without_secrets(log: str) -> str:
    return re.sub(r"cenote_v1_\w+|SCRAM-SHA-256\$\S+", "…", log)
