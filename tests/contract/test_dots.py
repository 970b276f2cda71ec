"""DigitalOcean's own TypeScript client, as it is on npm, against a real ``cenote serve``.

It is generated from the reference by Kiota, whose later versions read lists in a way that the package was not
made for: with them no call works that answers with a list of texts, whatever the service.  So Kiota is an
earlier version here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.npm import answer_of_script, node, package
from tests.support.service import Service, answer_of
from tests.support.through import service

SCRIPTS = Path(__file__).with_name("node")
RECOVERING = "SELECT pg_is_in_recovery()"
VERSION = "1.19.0"
KIOTA = "1.0.0-preview.100"
PARTS = (
    *("abstractions", "authentication-azure", "bundle", "http-fetchlibrary"),
    *("serialization-form", "serialization-json", "serialization-multipart", "serialization-text"),
)
NO_CONTENT = (
    *("pool updated", "firewall replaced", "window", "update", "autoscale set", "names set", "resized"),
    *("migrated", "credentials set", "pool deleted", "database deleted", "user deleted", "cluster deleted"),
)


@pytest.fixture(scope="module")
def package_folder() -> Path:
    node()
    kiota = tuple(f"@microsoft/kiota-{part}@{KIOTA}" for part in PARTS)
    return package("@digitalocean/dots", VERSION, with_=kiota)


@pytest.fixture(scope="module")
def told(package_folder: Path) -> Iterator[dict[str, Any]]:
    with service() as running:
        yield played("dots.mjs", package_folder, running)


def played(script: str, package_folder: Path, running: Service) -> dict[str, Any]:
    """What a script was told, by its own names."""
    variables = running.environment()
    known = ("DIGITALOCEAN_TOKEN", "DIGITALOCEAN_API_URL", "NODE_EXTRA_CA_CERTS")
    told: dict[str, Any] = answer_of_script(
        SCRIPTS / script, str(package_folder), **{name: variables[name] for name in known}
    )
    return told


def test_a_cluster_comes_online_and_goes_where_it_is_told(told: dict[str, Any]) -> None:
    created, online = told["created"]["database"], told["online"]
    assert created["status"] in ("creating", "online")
    assert online["status"] == "online"
    assert created["connection"] == online["connection"]
    assert online["createdAt"].endswith("Z")
    after = told["at the end"]
    assert (after["size"], after["region"]) == ("db-s-1vcpu-2gb", "ams3")
    assert after["maintenanceWindow"]["day"] == "tuesday"


def test_what_was_added_is_found_and_listed(told: dict[str, Any]) -> None:
    assert [one["name"] for one in told["clusters"]["databases"]] == ["backend"]
    assert told["user added"] == told["user"]
    assert told["user"]["user"]["settings"] == {"pgAllowReplication": True}
    assert told["user updated"]["user"]["settings"] == {"pgAllowReplication": False}
    assert told["user reset"]["user"]["password"] != told["user"]["user"]["password"]
    assert [one["name"] for one in told["users"]["users"]] == ["doadmin", "app"]
    assert [one["name"] for one in told["databases"]["dbs"]] == ["defaultdb", "orders"]
    pool = told["pool"]["pool"]
    assert (pool["mode"], pool["size"], pool["user"]) == ("session", 3, "app")
    assert told["pools"]["pools"] == [pool]


def test_settings_are_changed_although_it_sends_defaults_of_other_engines_along(told: dict[str, Any]) -> None:
    # It knows no type for settings that it reads, and hands them on as they came.
    before, after = (told[what]["config"]["additionalData"] for what in ("config", "config after"))
    assert after == before | {
        "work_mem": 8,
        "pgbouncer": before["pgbouncer"] | {"server_idle_timeout": 300},
    }
    assert before["work_mem"] != 8


def test_what_was_replaced_is_read_back(told: dict[str, Any]) -> None:
    assert [(one["type"], one["value"]) for one in told["firewall"]["rules"]] == [("ip_addr", "127.0.0.1")]
    assert told["autoscale"]["autoscale"]["storage"] == {
        "enabled": True,
        "thresholdPercent": 80,
        "incrementGib": 10,
    }
    assert told["names"]["doSettings"]["serviceCnames"] == ["db.example.com"]
    assert told["credentials"]["credentials"]["additionalData"]["basic_auth_username"] == "scraper"
    assert told["events"]["events"][-1]["eventType"] == "cluster_create"


@pytest.mark.parametrize("what", NO_CONTENT)
def test_what_needs_no_answer_has_none(told: dict[str, Any], what: str) -> None:
    assert told[what] is None


@pytest.mark.parametrize(
    ("what", "status", "id", "message"),
    [
        ("a pool that is there", 422, "unprocessable_entity", "pool name is not available"),
        (
            "a topic",
            422,
            "unprocessable_entity",
            "operation is not supported for this cluster type",
        ),
        ("a replica", 404, "not_found", "The resource you requested could not be found."),
        (
            "the cluster that was deleted",
            404,
            "not_found",
            "The resource you requested could not be found.",
        ),
    ],
)
def test_a_refusal_is_an_error_with_its_words(
    told: dict[str, Any], what: str, status: int, id: str, message: str
) -> None:
    assert told[what] == {"status": status, "id": id, "message": message}


def test_two_nodes_and_read_replicas_are_made_and_one_is_promoted(package_folder: Path) -> None:
    with service() as running:
        told = played("dots_nodes.mjs", package_folder, running)
        assert (told["created"]["database"]["numNodes"], told["one node"]["numNodes"]) == (2, 1)
        assert answer_of(told["online"]["connection"]["uri"], RECOVERING) is False
        assert told["online"]["standbyConnection"]["port"] != told["online"]["connection"]["port"]
        added = told["replica added"]["replica"]
        assert (added["name"], added["region"], added["tags"]) == ("reading", "fra1", ["reads"])
        assert [one["name"] for one in told["replicas"]["replicas"]] == ["reading"]
        assert told["another deleted"] is None
        assert told["promoted"] is None
        assert told["cluster"]["id"] == added["id"]
        assert answer_of(told["cluster"]["connection"]["uri"], RECOVERING) is False
        assert answer_of(told["one node"]["connection"]["uri"], RECOVERING) is False
