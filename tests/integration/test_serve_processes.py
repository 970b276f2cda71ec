"""The three processes of the service: each comes back, nobody is refused meanwhile, and all end together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from cenote.host import processes
from cenote.model.paths import Layout
from cenote.security import certificates
from cenote.server.settings import EtcdSettings
from cenote.store import etcd_messages
from cenote.store.keys import Keys
from cenote.store.process import PrivateEtcd
from cenote_client import Client
from tests.support import process_table
from tests.support.folders import server_folder
from tests.support.service import (
    CENOTE,
    Service,
    added_pool,
    answer_of,
    calling,
    ephemeral,
    exports_of,
    online_cluster,
    service,
)
from tests.support.waiting import wait_until

BACK_SECONDS = 1.0  # before a process that was killed is there again
SLACK = 10.0  # for a machine that is busy with other tests


def came_back(running: Service, name: str, before: int) -> float:
    """Wait until another process has this role; return how long that took."""
    began = time.monotonic()
    wait_until(f"the {name} is back", 30, lambda: running.child(name) not in (None, before))
    return time.monotonic() - began


class Caller:
    """Calls the API on a new connection each time, and keeps what went wrong."""

    def __init__(self, running: Service) -> None:
        variables = running.environment()
        self._url = variables["DIGITALOCEAN_API_URL"]
        self._trusting = ssl.create_default_context(cafile=variables["SSL_CERT_FILE"])
        self._headers = {"authorization": f"Bearer {variables['DIGITALOCEAN_TOKEN']}"}
        self.answered, self.refused, self.broken = 0, 0, 0
        self.longest = 0.0

    def call_until(self, enough: threading.Event) -> None:
        while not enough.is_set():
            began = time.monotonic()
            try:
                with httpx.Client(verify=self._trusting, timeout=30, headers=self._headers) as http:
                    assert http.get(f"{self._url}/v2/databases").status_code == 200
                self.answered += 1
            except httpx.ConnectError as error:
                if "refused" in str(error):
                    self.refused += 1
                else:  # within the handshake
                    self.broken += 1
            except httpx.TransportError:
                self.broken += 1
            self.longest = max(self.longest, time.monotonic() - began)


@contextmanager
def calls(running: Service) -> Iterator[Caller]:
    """Somebody who calls all the time."""
    caller, enough = Caller(running), threading.Event()
    thread = threading.Thread(target=caller.call_until, args=(enough,))
    thread.start()
    try:
        wait_until("there are answers", 30, lambda: caller.answered > 3)
        yield caller
    finally:
        enough.set()
        thread.join()


@pytest.mark.parametrize("name", ["agent", "api"])
def test_a_process_that_is_killed_is_back_within_a_second_and_no_caller_is_refused(
    running: Service, name: str
) -> None:
    with calls(running) as caller:
        for _ in range(3):
            before = running.processes()
            os.kill(before[name], signal.SIGKILL)
            took = came_back(running, name, before[name])
            assert took < BACK_SECONDS * SLACK
            answered = caller.answered
            wait_until("there are answers again", 30, lambda: caller.answered > answered)  # noqa: B023
            others = {other: pid for other, pid in before.items() if other != name}
            assert running.processes().items() >= others.items()
    assert caller.refused == 0
    assert caller.broken <= (3 if name == "api" else 0)
    assert f"the {name} was ended by SIGKILL; starting it again" in running.log()


def test_the_first_answer_of_an_api_that_is_back_says_that_all_is_well(
    running: Service, http: httpx.Client
) -> None:
    for _ in range(3):
        os.kill(running.processes()["api"], signal.SIGKILL)
        with httpx.Client(verify=False, timeout=30) as other:  # noqa: S501 - the address is ours
            assert other.get(f"{http.base_url}/healthz").status_code == 200


def test_the_first_answer_after_an_upgrade_has_full_versions(running: Service, client: Client) -> None:
    cluster = online_cluster(client, "first")
    variables = running.environment()
    url = f"{variables['DIGITALOCEAN_API_URL']}/v2/databases/{cluster['id']}"
    headers = {"authorization": f"Bearer {variables['DIGITALOCEAN_TOKEN']}"}
    running.end()
    asyncio.run(forget_hosts(running))
    running.launch()
    first: list[httpx.Response] = []
    with httpx.Client(verify=False, timeout=30, headers=headers) as http:  # noqa: S501 - the address is ours

        def has_answered() -> bool:
            with contextlib.suppress(httpx.ConnectError):
                first.append(http.get(url))
            return bool(first)

        wait_until("it answers", 30, has_answered)
    assert first[0].status_code == 200
    assert first[0].json()["database"]["semantic_version"] == cluster["semantic_version"]
    wait_until("it serves", 30, lambda: running.log().count("Cenote serves") == 2)
    with running.client() as again:
        again.request("DELETE", f"/v2/databases/{cluster['id']}")


async def forget_hosts(running: Service) -> None:
    """Leave a store as an upgrade from version 0.1 does: with no record of a host."""
    keys = Keys(EtcdSettings().prefix)
    gone = [etcd_messages.delete_prefix(prefix) for prefix in (keys.hosts, keys.presences)]
    async with running.etcd_client() as etcd:
        await etcd.transact(etcd_messages.TransactionRequest([], gone, []))


def test_changes_are_carried_out_after_the_agent_was_killed(running: Service, client: Client) -> None:
    cluster = online_cluster(client, "goes-on")
    agent = running.processes()["agent"]
    os.kill(agent, signal.SIGKILL)
    pool = added_pool(client, cluster["id"], "made-meanwhile")
    wait_until("the pool answers", 30, lambda: answer_of(pool["connection"]["uri"]) == 42)
    client.request("DELETE", f"/v2/databases/{cluster['id']}")


def test_agent_and_etcd_that_are_killed_together_are_both_back(running: Service, client: Client) -> None:
    etcd = PrivateEtcd(Layout(running.data_dir).etcd)
    before, pid = running.processes(), etcd.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    os.kill(before["agent"], signal.SIGKILL)
    os.kill(before["api"], signal.SIGKILL)
    came_back(running, "agent", before["agent"])
    wait_until("etcd is back", 30, lambda: etcd.pid not in (None, pid))
    assert client.databases.list_clusters()["databases"] == []


def test_the_agent_listens_on_no_port_and_only_the_supervisor_and_the_api_have_the_listener(
    running: Service,
) -> None:
    found = running.processes()
    listening = {name: tcp_listeners(pid) for name, pid in found.items()}
    assert listening["agent"] == 0
    assert listening["supervisor"] == 1
    assert listening["api"] >= 1


def test_the_supervisor_has_no_thread(running: Service) -> None:
    assert len(os.listdir(f"/proc/{running.pid}/task")) == 1


def test_each_line_of_the_log_names_its_process(running: Service) -> None:
    # Read once: the service goes on writing, so a second reading may have more lines.
    log = running.log()
    named = re.findall(r"^\d{4}-\d\d-\d\d [\d:,]+ [A-Z]+ \[(\w+)\] ", log, re.MULTILINE)
    assert {"supervisor", "api"} <= set(named)
    assert len(re.findall(r"^\d{4}-\d\d-\d\d ", log, re.MULTILINE)) == len(named)


def test_the_others_end_with_a_supervisor_that_is_killed_and_the_next_one_adopts_the_servers(
    running: Service, client: Client
) -> None:
    cluster = online_cluster(client, "adopted")
    servers, before = running.servers(), running.processes()
    running.end(signal.SIGKILL)
    wait_until(
        "its processes have ended",
        1.0 * SLACK,
        lambda: all(processes.identify(pid) is None for pid in before.values()),
    )
    assert running.servers() == servers
    running.start()
    assert running.servers() == servers
    assert answer_of(cluster["connection"]["uri"]) == 42
    client.request("DELETE", f"/v2/databases/{cluster['id']}")


def test_ctrl_c_in_a_terminal_ends_all_of_it_once() -> None:
    """A terminal sends the signal to every process of the group."""
    with service(command=("setsid", CENOTE)) as grouped, calling(grouped) as http:
        assert http.get("/healthz").is_success
        found = grouped.processes()
        assert {os.getpgid(pid) for pid in found.values()} == {grouped.pid}
        os.killpg(grouped.pid, signal.SIGINT)
        os.killpg(grouped.pid, signal.SIGINT)
        assert grouped.wait() == 0
        assert [pid for pid in found.values() if processes.identify(pid) is not None] == []
        assert "Traceback" not in grouped.log()
        assert "starting it again" not in grouped.log()
        assert set(grouped.servers()) == {"etcd"}


def test_an_ephemeral_service_whose_agent_was_killed_leaves_nothing_behind() -> None:
    with server_folder() as folder, ephemeral(folder) as process:
        env_file = folder / "env"
        wait_until("the exports are written", 60, env_file.exists)
        variables = exports_of(env_file.read_text())
        with Client(
            variables["DIGITALOCEAN_TOKEN"],
            endpoint=variables["DIGITALOCEAN_API_URL"],
            verify=variables["SSL_CERT_FILE"],
        ) as client:
            online_cluster(client, "ephemeral")
        [agent] = [pid for pid in processes.children(process.pid) if named(pid) == "cenote-agent"]
        os.kill(agent, signal.SIGKILL)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert processes.below(folder) == []
        assert [path for path in folder.iterdir() if path.name.startswith("cenote-")] == []


# -- Certificates


def own_pair(folder: Path) -> tuple[str, bytes, bytes]:
    """Return a CA, and a certificate and a key of a user's own."""
    authority, key = certificates.new_authority("somebody")
    chain = certificates.issue(authority, key, ("localhost",))
    where = chain.index(b"-----BEGIN CERTIFICATE-----")
    return authority, chain[where:], chain[:where]


def put(path: Path, content: bytes, mode: int = 0o600) -> None:
    fresh = path.with_suffix(".new")
    fresh.touch(mode=mode)
    fresh.write_bytes(content)
    fresh.replace(path)


def shown(port: int) -> str:
    """Return the certificate that a new client is shown."""
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=20)


def test_a_certificate_that_only_its_owner_may_read_is_used_and_followed_when_it_is_renewed() -> None:
    with server_folder() as folder:
        folder.chmod(0o700)
        certificate, key = folder / "tls" / "api.crt", folder / "tls" / "api.key"
        certificate.parent.mkdir(mode=0o700)
        _, first, first_key = own_pair(folder)
        put(certificate, first)
        put(key, first_key)
        with service(f"--tls-cert={certificate}", f"--tls-key={key}") as own:
            assert shown(own.api_port).encode() in first
            _, second, second_key = own_pair(folder)
            put(certificate, second)
            wait_until("it is told", 30, lambda: "keeps its current certificate" in own.log())
            assert shown(own.api_port).encode() in first  # the key is still that of the first

            os.kill(own.processes()["api"], signal.SIGKILL)
            assert shown(own.api_port).encode() in first

            put(key, second_key)
            wait_until("the second is shown", 30, lambda: shown(own.api_port).encode() in second)
            assert own.child("api") is not None


def test_the_certificate_of_ours_is_followed_too(running: Service) -> None:
    layout = Layout(running.data_dir)
    before = shown(running.api_port)
    issued = certificates.issue(
        layout.authority.read_text(), layout.authority_key.read_text(), ("localhost", "127.0.0.1")
    )
    put(layout.api_certificate, issued)
    wait_until("another one is shown", 30, lambda: shown(running.api_port) != before)


# -- Details


def tcp_listeners(pid: int) -> int:
    """Return how many listening TCP sockets a process has."""
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                listening.add(f"socket:[{fields[9]}]")
    return len(process_table.open_files(pid) & listening)


def named(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
