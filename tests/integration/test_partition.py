"""Three hosts in network namespaces of their own: they join, one is cut off, two lose each other."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import httpx
import psycopg
import pytest

from cenote.host import processes
from tests.support import process_table
from tests.support.fleet import FleetHost
from tests.support.fleet_network import NetworkFleet, network_fleet
from tests.support.service import (
    CENOTE,
    SMALLEST,
    added_pool,
    answer_of,
    calling,
    clean_environment,
    online_cluster,
    tried,
)
from tests.support.store_fleet import wait_for_seats
from tests.support.waiting import wait_until

DOWN_SECONDS = 40  # from the cut until the clusters are down, in words
HEALED_SECONDS = 40
REFUSED_SECONDS = 20.0  # a create asks other hosts for ports first, and then the store
PARTED_SECONDS = 12  # longer than the lease of an agent's presence
NOTICED_SECONDS = 8.0  # what an answer of the others may take on a busy machine


class Placed(NamedTuple):
    """The clusters by host: what stays, and what is deleted while its host is cut off."""

    stays: dict[str, Any]
    deleted: Any


@pytest.fixture(scope="module")
def hosts() -> Iterator[NetworkFleet]:
    with network_fleet(3) as running, running.network.visit():
        yield running


@pytest.fixture(scope="module")
def placed(hosts: NetworkFleet) -> Placed:
    with ThreadPoolExecutor(4) as at_once:
        stays = {host.name: at_once.submit(cluster_on, host, f"on-{host.name}", host) for host in hosts.hosts}
        deleted = at_once.submit(cluster_on, hosts.hosts[0], "deleted", hosts.hosts[2])
        return Placed({name: made.result() for name, made in stays.items()}, deleted.result())


def cluster_on(asked: FleetHost, name: str, host: FleetHost) -> Any:
    """A cluster with a pool, created through one host and placed on one."""
    with asked.client() as client:
        made = online_cluster(client, name, cenote={"host": host.name})
        added_pool(client, made["id"], "pool")
        return made


@contextlib.contextmanager
def apis(hosts: NetworkFleet) -> Iterator[dict[str, httpx.Client]]:
    """Plain clients of each API, from where clients are."""
    with contextlib.ExitStack() as stack:
        yield {host.name: stack.enter_context(calling(host)) for host in hosts.hosts}


def psql() -> str:
    found = shutil.which("psql")
    assert found is not None
    return found


def said_inside(hosts: NetworkFleet, host: FleetHost, uri: str, statement: str) -> str:
    """What ``psql`` on a host says, connected by the host's own address."""
    done = subprocess.run(
        [*hosts.network.inside(host.number), psql(), "-XAtqc", statement, uri],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def states(http: httpx.Client) -> dict[str, str]:
    return {name: host["state"] for name, host in shown(http).items()}


def shown(http: httpx.Client) -> dict[str, Any]:
    return {host["name"]: host for host in http.get("/v2/cenote/hosts").json()["hosts"]}


def health(http: httpx.Client, cluster: Any) -> tuple[str, str]:
    seen = http.get(f"/v2/databases/{cluster['id']}").json()["database"]["cenote"]
    return seen["health"], seen["reason"]


def postmasters(hosts: NetworkFleet) -> Counter[str]:
    """How many PostgreSQL servers work for each cluster, on all hosts together."""
    found: Counter[str] = Counter()
    for host in hosts.hosts:
        folder = host.data_dir / "clusters"
        pids = {process.pid for process in processes.below(folder, "postgres")}
        backends = {child for pid in pids for child in processes.children(pid)}
        for place in process_table.directories(pids - backends).values():
            found[place.relative_to(folder).parts[0]] += 1
    return found


def folders(hosts: NetworkFleet) -> Counter[str]:
    """How many data folders there are for each cluster, on all hosts together."""
    return Counter(
        version.relative_to(host.data_dir / "clusters").parts[0]
        for host in hosts.hosts
        for version in (host.data_dir / "clusters").glob("*/*/PG_VERSION")
    )


def command(hosts: NetworkFleet, host: FleetHost, *arguments: str) -> str:
    """Run ``cenote`` where clients are, with the API of a host."""
    done = hosts.network.ask(CENOTE, *arguments, environment=clean_environment() | host.environment())
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_three_hosts_join_with_accounts_and_folders_of_their_own(hosts: NetworkFleet, placed: Placed) -> None:
    wait_for_seats(hosts.hosts[0], 3)
    with apis(hosts) as each:
        assert set(map(str, map(states, each.values()))) == {
            str(dict.fromkeys(("host-1", "host-2", "host-3"), "up"))
        }
    owners = set()
    for host, other in zip(hosts.hosts, (*hosts.hosts[1:], hosts.hosts[0]), strict=True):
        cluster = placed.stays[host.name]
        assert cluster["connection"]["host"] == host.address
        pool = command(hosts, other, "uri", cluster["id"], "--pool", "pool").strip()
        asked = hosts.network.ask(psql(), "-XAtqc", "SELECT 42", pool)
        assert (asked.stdout.strip(), asked.stderr) == ("42", "")
        owner = servers_account(host)
        owners.add(owner)
        for folder, is_open in ((host.data_dir, True), (other.data_dir, False)):
            passed = subprocess.run(
                ["setpriv", f"--reuid={owner}", f"--regid={owner}", "--clear-groups", "stat", folder / "run"],
                capture_output=True,
                check=False,
            )
            assert (passed.returncode == 0) is is_open
    assert len(owners) == len(hosts.hosts)


def servers_account(host: FleetHost) -> str:
    """The account that the servers of a host run as."""
    servers = processes.below(host.data_dir / "clusters", "postgres")
    (uid,) = process_table.owners(process.pid for process in servers)
    return pwd.getpwuid(uid).pw_name


def test_a_host_that_is_cut_off_keeps_its_databases_and_refuses_changes(
    hosts: NetworkFleet, placed: Placed
) -> None:
    first, second, third = hosts.hosts
    cluster, bystander, deleted = placed.stays["host-3"], placed.stays["host-1"], placed.deleted
    path, uri = f"/v2/databases/{cluster['id']}", cluster["connection"]["uri"]
    said_inside(hosts, third, uri, "CREATE TABLE kept (at text)")
    before = postmasters(hosts)
    assert set(before.values()) == {1}
    with apis(hosts) as each, ThreadPoolExecutor(4) as aside, contextlib.ExitStack() as at_end:
        asked, other = each["host-1"], each["host-2"]
        claimed = shown(asked)["host-3"]["ports"]["claimed"]
        at_end.callback(hosts.network.heal, third.number)
        hosts.network.cut_off(third.number)
        cut = time.monotonic()
        said_inside(hosts, third, uri, "INSERT INTO kept VALUES ('at once')")
        wait_until("its presence ends", 20, lambda: states(asked)["host-3"] == "away")
        noticed = time.monotonic() - cut
        reset = aside.submit(other.post, f"{path}/users/doadmin/reset_auth", json={})
        rules = {"rules": [{"type": "ip_addr", "value": hosts.network.CLIENTS}]}
        closed = aside.submit(asked.put, f"{path}/firewall", json=rules)
        began = time.monotonic()
        assert other.delete(f"/v2/databases/{deleted['id']}").status_code == 204
        assert time.monotonic() - began < NOTICED_SECONDS
        stats = other.get(f"{path}/pools/pool/stats")
        assert (stats.status_code, "host-3" in stats.json()["message"]) == (503, True), stats.text
        inside = aside.submit(refused_inside, hosts, third, path)

        slowest = 0.0

        def is_down() -> bool:
            nonlocal slowest
            began = time.monotonic()
            assert health(asked, bystander) == ("healthy", "")
            slowest = max(slowest, time.monotonic() - began)
            return health(asked, cluster)[0] == health(other, cluster)[0] == "down"

        wait_until("its cluster is down", DOWN_SECONDS + 20, is_down)
        down = time.monotonic() - cut
        assert slowest < NOTICED_SECONDS
        for api in (asked, other):
            assert health(api, cluster)[1].startswith("host host-3 does not answer since ")
            assert states(api) == {"host-1": "up", "host-2": "up", "host-3": "down"}
        for answer in (reset.result(), closed.result()):
            assert answer.status_code == 503
            assert "the host host-3 does not answer, and may go on letting clients in" in answer.text
        inside.result()
        said_inside(hosts, third, uri, "INSERT INTO kept VALUES ('later')")
        said_inside(hosts, third, deleted["connection"]["uri"], "SELECT")
        with second.client() as client:
            made = online_cluster(client, "meanwhile")
            assert made["connection"]["host"] != third.address
            assert answer_of(added_pool(client, made["id"], "pool")["connection"]["uri"]) == 42
        assert answer_of(bystander["connection"]["uri"]) == 42

        hosts.network.heal(third.number)
        healed = time.monotonic()
        wait_until("the host is there", 60, lambda: states(asked)["host-3"] == "up")
        back = time.monotonic() - healed

        def is_well() -> bool:
            return (
                all(health(api, cluster) == ("healthy", "") for api in each.values())
                and shown(asked)["host-3"]["ports"]["claimed"] == claimed - 3
            )

        wait_until("all is as the records say", 60, is_well)
        well = time.monotonic() - healed
        print(f"presence over {noticed:.1f} s, down {down:.1f} s; back {back:.1f} s, healed {well:.1f} s")
        assert down < DOWN_SECONDS
        assert well < HEALED_SECONDS

        new = each["host-3"].get(path).json()["database"]["connection"]["uri"]
        assert new != uri
        assert answer_of(new, "SELECT string_agg(at, ', ' ORDER BY at) FROM kept") == "at once, later"
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            answer_of(uri)
        with hosts.network.visit(second.number):
            assert tried(new) is None  # no trusted source
        again = each["host-3"].put(f"{path}/firewall", json={"rules": []})
        assert again.status_code == 204, again.text
    expected = Counter({id: 1 for id in before if id != deleted["id"]}) + Counter([made["id"]])
    assert postmasters(hosts) == expected
    assert folders(hosts) == expected
    assert not any(str(deleted["id"]) in name for name in os.listdir(third.data_dir / "clusters"))
    wait_for_seats(first, 3)


def refused_inside(hosts: NetworkFleet, host: FleetHost, path: str) -> None:
    """Every change is refused in words by the API of a host that is cut off, and reads go on."""

    def change(method: str, where: str, body: Any) -> httpx.Response:
        with hosts.network.visit(host.number), calling(host) as http:
            http.get(path).raise_for_status()
            return http.request(method, where, json=body)

    requests: list[tuple[str, str, Any]] = [
        ("POST", "/v2/databases", SMALLEST | {"name": "nowhere"}),
        ("PUT", f"{path}/firewall", {"rules": [{"type": "ip_addr", "value": "192.0.2.1"}]}),
        ("POST", f"{path}/users/doadmin/reset_auth", {}),
        ("DELETE", path, None),
    ]
    with ThreadPoolExecutor(5) as at_once:
        answers = [at_once.submit(change, *request) for request in requests]
        said = at_once.submit(host.run, "cluster", "create", "nowhere", "--size", str(SMALLEST["size"]))
        for answer in answers:
            found = answer.result()
            assert (found.status_code, found.json()["id"]) == (503, "service_unavailable"), found.text
            assert re.search("etcd .*majority|etcd cannot be reached at any", found.text), found.text
            print(f"{found.request.method} refused after {found.elapsed.total_seconds():.1f} s: {found.text}")
            assert found.elapsed.total_seconds() < REFUSED_SECONDS
    assert said.result().returncode != 0
    assert "etcd" in said.result().stderr
    assert "Traceback" not in said.result().stderr


def test_two_hosts_that_lose_each_other_go_on_through_the_third(hosts: NetworkFleet, placed: Placed) -> None:
    path = f"/v2/databases/{placed.stays['host-3']['id']}"
    everyone = dict.fromkeys(("host-1", "host-2", "host-3"), "up")
    with apis(hosts) as each:
        wait_until("all are there", 30, lambda: states(each["host-1"]) == everyone)
        hosts.network.part(2, 3)
        try:
            began = time.monotonic()
            while time.monotonic() - began < PARTED_SECONDS:
                assert states(each["host-1"]) == everyone
                time.sleep(0.5)
            for name, api in each.items():
                assert health(api, placed.stays["host-3"]) == ("healthy", ""), name
                changed = api.put(
                    f"{path}/firewall", json={"rules": [{"type": "ip_addr", "value": hosts.network.CLIENTS}]}
                )
                assert changed.status_code == 204, changed.text
            assert each["host-1"].get(f"{path}/pools/pool/stats").status_code == 200
            began = time.monotonic()
            stats = each["host-2"].get(f"{path}/pools/pool/stats")
            assert time.monotonic() - began < 3 + NOTICED_SECONDS
            assert (stats.status_code, "host-3" in stats.text) == (503, True), stats.text
        finally:
            hosts.network.join(2, 3)
        wait_until(
            "they reach each other",
            20,
            lambda: each["host-2"].get(f"{path}/pools/pool/stats").status_code == 200,
        )
        opened = each["host-3"].put(f"{path}/firewall", json={"rules": []})  # others connect as hosts
        assert opened.status_code == 204, opened.text
