"""schemathesis against a real ``cenote serve``: what it makes of our description, and of the reference.

Thousands of calls, right and wrong ones, of every operation.  ``CENOTE_FUZZ_SEED`` repeats a run, and
``CENOTE_FUZZ_TIMES`` makes it so many times as long.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cenote.host import processes
from cenote_client import Client
from tests.support.fuzzing import Report, fuzz
from tests.support.reference import reference_file
from tests.support.service import WITHOUT_LIMITS, Service, added_pool, online_cluster
from tests.support.through import service
from tests.support.waiting import wait_until

CLUSTERS = 3  # of which one is there from the beginning; more are refused, since each is a real server
TIMES = int(os.environ.get("CENOTE_FUZZ_TIMES") or 1)
pytestmark = [pytest.mark.long, pytest.mark.timeout(3600 * TIMES)]
SEED = os.environ.get("CENOTE_FUZZ_SEED") or str(int.from_bytes(os.urandom(4)))
# They do nothing but refuse, which the phase "coverage" has seen enough of.
REFUSING = r"/(eviction_policy|sql_mode|topics|schema-registry|indexes)(/|$)"
ONCE_IS_ENOUGH = f"""
[[operations]]
include-path-regex = '{REFUSING}'
phases.fuzzing.enabled = false
"""
# A log sink is an address that the service then sends to, so none is made up; they have tests of their own.
SENDING = "--exclude-path-regex=/logsink"


@dataclass(frozen=True)
class Target:
    """A service with one cluster, which has a user, a database and a pool."""

    running: Service
    client: Client
    known: dict[str, str]
    kept: list[str]

    def fuzz(self, description: str, folder: Path, *options: str, known: str = "all", **more: Any) -> Report:
        self.make_room()
        print(f"to repeat it: CENOTE_FUZZ_SEED={SEED} CENOTE_FUZZ_TIMES={TIMES}")
        names = {"all": list(self.known), "cluster": ["database_cluster_uuid"], "nothing": []}[known]
        report = fuzz(
            self.running,
            description,
            folder,
            known={name: self.known[name] for name in names},
            kept=self.kept,
            options=["--seed", SEED, *options],
            **more,
        )
        print(f"{report.cases} cases, {len(report.calls)} calls, {len(report.secrets)} secrets")
        return report

    def make_room(self) -> None:
        """Delete the clusters and read replicas that runs before have made."""
        kept = self.known["database_cluster_uuid"]
        for one in self.client.request("GET", "/v2/databases?per_page=200")["databases"]:
            if one["id"] != kept:
                self.delete(one["id"])
        self.delete_replicas(kept)
        folders = [host.data_dir / "clusters" for host in self.running.hosts]

        def those_on_disk() -> set[str]:
            return {one.name for folder in folders if folder.exists() for one in folder.iterdir()}

        wait_until("the others are gone", 120, lambda: those_on_disk() == {kept})

    def delete_replicas(self, id: str) -> None:
        for one in self.client.request("GET", f"/v2/databases/{id}/replicas?per_page=200")["replicas"]:
            self.delete(one["id"])

    def delete(self, id: str) -> None:
        """Delete a cluster with its read replicas; all of them may be protected from that."""
        self.delete_replicas(id)
        path = f"/v2/databases/{id}"
        self.client.request("PUT", f"{path}/delete_protection", json={"enabled": False})
        self.client.request("DELETE", path)

    @property
    def description(self) -> str:
        return self.running.environment()["DIGITALOCEAN_API_URL"] + "/openapi.json"


# They need several hosts, nodes or versions of PostgreSQL, backups, deletions that can be taken back, or a
# read replica, which a cluster that is being changed by other calls does not get.
NEED_MORE = {
    ("GET", "/v2/databases/{database_cluster_uuid}/backups"),
    ("POST", "/v2/databases/{database_cluster_uuid}/backups"),
    ("POST", "/v2/databases/{database_cluster_uuid}/backups/drills"),
    ("POST", "/v2/databases/{database_cluster_uuid}/move"),
    ("POST", "/v2/databases/{database_cluster_uuid}/switchover"),
    ("PUT", "/v2/databases/{database_cluster_uuid}/upgrade"),
    ("POST", "/v2/databases/{database_cluster_uuid}/upgrade/rehearsal"),
    ("PUT", "/v2/databases/{database_cluster_uuid}/online-migration"),
    ("GET", "/v2/databases/{database_cluster_uuid}/online-migration"),
    ("DELETE", "/v2/databases/{database_cluster_uuid}/online-migration/{migration_id}"),
    ("POST", "/v2/databases/{database_cluster_uuid}/online-migration/{migration_id}/finish"),
    ("GET", "/v2/databases/{database_cluster_uuid}/recover"),
    ("POST", "/v2/databases/{database_cluster_uuid}/recover"),
    ("POST", "/v2/databases/{database_cluster_uuid}/replicas"),
    ("GET", "/v2/databases/{database_cluster_uuid}/replicas/{replica_name}"),
    ("PUT", "/v2/databases/{database_cluster_uuid}/replicas/{replica_name}/promote"),
    ("POST", "/v2/cenote/deleted/{deleted_cluster_uuid}/undelete"),
    ("POST", "/v2/cenote/hosts/tokens"),
    ("POST", "/v2/cenote/hosts/{host_id}/drain"),
}


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with (
        service(*WITHOUT_LIMITS, "--undelete-days=0", clusters=CLUSTERS) as running,
        running.client() as client,
    ):
        id = online_cluster(client, "kept")["id"]
        client.request("POST", f"/v2/databases/{id}/users", json={"name": "app"})
        client.request("POST", f"/v2/databases/{id}/dbs", json={"name": "orders"})
        added_pool(client, id, "backend-pool", db="orders", user="app")
        tokens = [one["id"] for one in client.request("GET", "/v2/cenote/tokens")["tokens"]]
        hosts = [one["id"] for one in client.request("GET", "/v2/cenote/hosts")["hosts"]]
        client.request("POST", "/v2/tags", json={"name": "staging"})
        network = client.request("POST", "/v2/vpcs", json={"name": "inner", "region": "nyc1"})["vpc"]["id"]
        shop = {"name": "shop", "purpose": "Web Application"}
        project = client.request("POST", "/v2/projects", json=shop)["project"]["id"]
        known = {
            "database_cluster_uuid": id,
            "username": "app",
            "database_name": "orders",
            "pool_name": "backend-pool",
            "tag_name": "staging",
            "vpc_id": network,
            "project_id": project,
        }
        yield Target(running, client, known, [*known.values(), *tokens, *hosts])


def times(examples: int) -> str:
    return f"--max-examples={examples * TIMES}"


def assert_nothing_found(target: Target, report: Report) -> None:
    assert report.found == [], report.output[-8000:]
    logs = [host.log() for host in target.running.hosts]
    logs += [path.read_text(errors="replace") for path in server_logs(target.running)]
    assert [secret[:4] for secret in report.secrets if any(secret in log for log in logs)] == []


def server_logs(running: Service) -> list[Path]:
    folders = [host.data_dir / "clusters" for host in running.hosts]
    found = [path for folder in folders for path in folder.rglob("*.log") if path.is_file()]
    assert found, "no server has a log"
    return found


def test_each_operation_alone_takes_whatever_is_sent(target: Target, tmp_path: Path) -> None:
    report = target.fuzz(
        target.description,
        tmp_path,
        *("--phases", "examples,coverage,fuzzing", times(10), SENDING),
        configuration=ONCE_IS_ENOUGH,
    )
    assert_nothing_found(target, report)
    assert report.cases >= 2000
    assert report.secrets, "no answer had a secret, so that none could be looked for"
    # Otherwise it would have been refusals that were tested.
    document = target.client.request("GET", "/openapi.json")
    good = {
        (method.upper(), path)
        for path, entry in document["paths"].items()
        for method, one in entry.items()
        if method != "delete" and int(min(one["responses"])) < 300 and "/logsink" not in path
    }
    good -= NEED_MORE
    assert {(method, path) for method, path, status in report.calls if status < 300} >= good


@pytest.mark.parametrize(
    ("known", "selected"),
    [
        ("nothing", ["--include-path-regex=^/v2/databases", SENDING]),
        (
            "cluster",
            ["--include-path-regex=^/v2/databases", SENDING, "--exclude-operation-id=delete_cluster"],
        ),
        ("nothing", ["--exclude-path-regex=^/v2/databases"]),
    ],
    ids=["clusters", "things of a cluster", "all the rest"],
)
def test_operations_one_after_the_other_agree(
    target: Target, tmp_path: Path, known: str, selected: list[str]
) -> None:
    """What was created is found, what was deleted is not; each takes what another has answered with."""
    report = target.fuzz(
        target.description,
        tmp_path,
        *("--phases", "stateful", "--mode", "positive", times(20), *selected),
        known=known,
    )
    assert_nothing_found(target, report)
    if known == "cluster":  # without one it is chance whether any call finds what it asks for
        assert any(status < 300 for _, _, status in report.calls)


def test_answers_fit_the_reference_whatever_is_sent(target: Target, tmp_path: Path) -> None:
    """What is checked is what clients rely on; that it leaves out which refusals there are is known.

    Its phase "coverage" is four thousand calls more, most of them the settings of other engines.
    """
    phases = "examples,fuzzing" if TIMES == 1 else "examples,coverage,fuzzing"
    report = target.fuzz(
        str(reference_file()),
        tmp_path,
        *("--phases", phases, times(10), SENDING),
        *("--checks", "not_a_server_error,content_type_conformance,response_schema_conformance"),
        configuration=ONCE_IS_ENOUGH,
    )
    assert_nothing_found(target, report)


@pytest.mark.last
def test_nothing_is_left_when_all_is_deleted(target: Target) -> None:
    """The tests before have made clusters, and restarted and moved them; this one ends the service."""
    databases = target.client.request("GET", "/v2/databases?per_page=200")["databases"]
    addresses = [(one["connection"]["host"], one["connection"]["port"]) for one in databases]
    for one in databases:
        target.delete(one["id"])
    hosts = target.running.hosts
    wait_until(
        "the clusters' servers and files are gone", 180, lambda: not any(host.remains() for host in hosts)
    )
    for host in hosts:
        host.stop()
        assert [process.pid for process in processes.below(host.data_dir)] == []
        addresses.append(("127.0.0.1", host.api_port))
    for address, port in [*addresses, *((address, port + 1) for address, port in addresses)]:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, port), timeout=5)
    assert not any(re.search(r"Traceback|Task exception was never retrieved", host.log()) for host in hosts)
