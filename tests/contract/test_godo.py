"""godo, the Go client that doctl and the Terraform provider are made of, against a real ``cenote serve``.

It decodes strictly: a time that is an empty text or a number in quotation marks is an error there, and what
is missing is a pointer to nothing, on which doctl ends.  The sources are Debian's, an early version; what
later ones read beside is checked by ``test_openapi.py`` against the reference.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.golang import go_program
from tests.support.service import clean_environment
from tests.support.through import service

SOURCE = Path(__file__).with_name("godo")
LIBRARY = "github.com/digitalocean/godo"


@pytest.fixture(scope="module")
def told() -> Iterator[dict[str, Any]]:
    program = go_program("godo-tour", SOURCE, needs=LIBRARY)
    with service() as running:
        done = subprocess.run(
            [str(program)],
            capture_output=True,
            text=True,
            env=clean_environment() | running.environment(),
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        yield json.loads(done.stdout)


@pytest.mark.parametrize(
    ("status", "calls"),
    [
        (202, "resized, migrated"),
        (204, "firewall replaced, firewall sent back, window, tagged, untagged, tag deleted"),
        (
            204,
            "replica deleted, network deleted, project deleted, pool deleted, database deleted, user deleted",
        ),
        (204, "cluster deleted"),
    ],
)
def test_what_needs_no_answer_has_its_code(told: dict[str, Any], status: int, calls: str) -> None:
    assert [told[what] for what in calls.split(", ")] == [status] * len(calls.split(", "))


@pytest.mark.parametrize("what", ["created", "online", "at the end", "with the tag"])
def test_a_cluster_has_all_that_doctl_reads_without_asking_whether_it_is_there(
    told: dict[str, Any], what: str
) -> None:
    cluster = told[what]
    for name in ("connection", "private_connection"):
        assert set(cluster[name]) == {"uri", "database", "host", "port", "user", "password", "ssl"}
    assert cluster["maintenance_window"]["hour"]
    assert cluster["private_network_uuid"]
    assert cluster["created_at"] > "2020"


def test_a_cluster_comes_online_and_goes_where_it_is_told(told: dict[str, Any]) -> None:
    created, online, after = told["created"], told["online"], told["at the end"]
    assert created["status"] in ("creating", "online")
    assert online["status"] == "online"
    assert created["connection"] == online["connection"]
    assert (after["size"], after["region"]) == ("db-s-1vcpu-2gb", "ams3")
    assert told["clusters"] == [online]


def test_what_was_added_is_found_and_listed(told: dict[str, Any]) -> None:
    assert told["user added"] == told["user"]
    assert told["user reset"]["password"] != told["user"]["password"]
    assert [one["name"] for one in told["users"]] == ["doadmin", "app"]
    assert told["database added"] == told["database"] == {"name": "orders"}
    assert [one["name"] for one in told["databases"]] == ["defaultdb", "orders"]
    assert told["pools"] == [told["pool"], told["inbound pool added"]]


def test_a_pool_without_a_user_stays_one(told: dict[str, Any]) -> None:
    assert told["inbound pool added"].get("user", "") == ""
    assert told["inbound pool added"]["connection"]["uri"]
    assert told["pool"]["user"] == "app"


def test_trusted_sources_that_are_sent_back_keep_their_ids_and_times(told: dict[str, Any]) -> None:
    rules = told["firewall"]
    assert [(one["type"], one["value"]) for one in rules] == [("ip_addr", "127.0.0.1"), ("tag", "production")]
    assert all(one["uuid"] and one["created_at"] > "2020" for one in rules)
    assert told["firewall again"] == rules


def test_the_limits_are_read(told: dict[str, Any]) -> None:
    limits = told["limits"]
    assert limits["limit"] == 100_000
    assert 0 < limits["remaining"] < 100_000
    assert limits["reset"] > "2020"


def test_what_stands_beside_the_databases_is_there_for_terraform(told: dict[str, Any]) -> None:
    assert told["account"]["status"] == "active"
    assert told["tag"]["resources"]["databases"]["count"] == 1
    assert set(told["with the tag"]["tags"]) == {"production", "staging"}
    assert told["network added"]["id"] in [one["id"] for one in told["networks"]]
    cluster = f"do:dbaas:{told['created']['id']}"
    assert [one["urn"] for one in told["assigned"]] == [cluster]
    assert [one["urn"] for one in told["of the project"]] == [cluster]
    assert told["default project"]["is_default"] is True


@pytest.mark.parametrize(
    ("what", "status", "message"),
    [
        ("a pool that is there", 422, "pool name is not available"),
        ("a mode of MySQL", 422, "operation is not supported for this cluster type"),
        ("a replica", 404, "The resource you requested could not be found."),
        ("the pool that was deleted", 404, "The resource you requested could not be found."),
        ("the cluster that was deleted", 404, "The resource you requested could not be found."),
        ("an id that is none", 404, "The resource you requested could not be found."),
    ],
)
def test_a_refusal_is_an_error_with_its_words(
    told: dict[str, Any], what: str, status: int, message: str
) -> None:
    assert told[what] == {"status": status, "message": message}


def test_a_replica_is_added_and_listed(told: dict[str, Any]) -> None:
    added = told["replica added"]
    assert (added["name"], added["region"]) == ("reads", "ams3")
    assert added["connection"]["uri"].startswith("postgres://")
    assert [one["name"] for one in told["replicas"]] == ["reads"]
