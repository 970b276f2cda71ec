"""dots-wrapper, the TypeScript client that most projects on npm use, against a real ``cenote serve``.

The script is a user's: the package as it is, with another endpoint and the CA in Node.js' own variable.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.npm import answer_of_script, node, package
from tests.support.through import service

SCRIPT = Path(__file__).with_name("node") / "dots_wrapper.mjs"
WRAPPER = ("dots-wrapper", "3.12.12")
DRIVER = ("pg", "8.23.1")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    node()
    packages = [str(package(*WRAPPER)), str(package(*DRIVER))]
    with service() as running:
        variables = running.environment()
        known = ("DIGITALOCEAN_TOKEN", "DIGITALOCEAN_API_URL", "NODE_EXTRA_CA_CERTS")
        folder = tmp_path_factory.mktemp("ca")
        yield answer_of_script(SCRIPT, *packages, str(folder), **{name: variables[name] for name in known})


@pytest.mark.parametrize(
    ("status", "calls"),
    [
        (200, "options, clusters, user, users, database, databases, pool, pools, firewall, replicas"),
        (201, "created, user added, database added, pool added"),
        (202, "resized, migrated"),
        (204, "firewall replaced, firewall sent back, window"),
        (204, "pool deleted, database deleted, user deleted, cluster deleted"),
        (200, "account, tags, networks, project, projects"),
        (201, "tag, network"),
        (204, "tagged, untagged, tag deleted, network deleted"),
        (404, "the pool that was deleted, the cluster that was deleted, a replica"),
        (422, "a mode of MySQL, an eviction policy, a pool that is there"),
    ],
)
def test_each_call_is_answered_with_the_code_that_it_expects(
    told: dict[str, Any], status: int, calls: str
) -> None:
    assert {what: told[what]["status"] for what in calls.split(", ")} == dict.fromkeys(
        calls.split(", "), status
    )


def test_a_cluster_comes_online_and_goes_where_it_is_told(told: dict[str, Any]) -> None:
    created, online = told["created"]["data"]["database"], told["online"]["data"]["database"]
    assert created["status"] in ("creating", "online")
    assert online["status"] == "online"
    assert created["connection"] == online["connection"]
    assert created["tags"] == ["production"]
    after = told["at the end"]["data"]["database"]
    assert (after["size"], after["region"]) == ("db-s-1vcpu-2gb", "ams3")
    assert after["maintenance_window"]["day"] == "tuesday"
    assert after["connection"]["password"] == created["connection"]["password"]


def test_what_was_added_is_found_and_listed(told: dict[str, Any]) -> None:
    assert told["user added"]["data"] == told["user"]["data"]
    assert [one["name"] for one in told["users"]["data"]["users"]] == ["doadmin", "app"]
    assert [one["name"] for one in told["databases"]["data"]["dbs"]] == ["defaultdb", "orders"]
    assert told["pool added"]["data"] == told["pool"]["data"]
    assert told["pools"]["data"]["pools"] == [told["pool"]["data"]["pool"]]
    for what in ("clusters", "users", "databases", "pools"):
        assert told[what]["data"]["meta"]["total"] >= 1


def test_node_postgres_connects_through_the_pool_with_full_verification(told: dict[str, Any]) -> None:
    assert told["through the pool"] == {"user": "app", "database": "orders", "answer": 42}


def test_node_postgres_notices_that_it_does_not_know_the_authority(told: dict[str, Any]) -> None:
    assert told["without the CA"] in ("SELF_SIGNED_CERT_IN_CHAIN", "UNABLE_TO_VERIFY_LEAF_SIGNATURE")


def test_trusted_sources_that_are_sent_back_stay_the_same(told: dict[str, Any]) -> None:
    rules = told["firewall"]["data"]["rules"]
    assert [(one["type"], one["value"]) for one in rules] == [("ip_addr", "127.0.0.1"), ("tag", "production")]
    assert told["firewall again"]["data"]["rules"] == rules


def test_a_tag_is_counted_on_the_cluster_that_has_it(told: dict[str, Any]) -> None:
    counts = {one["name"]: one["resources"]["databases"]["count"] for one in told["tags"]["data"]["tags"]}
    assert counts["staging"] == 1


def test_a_refusal_has_its_words(told: dict[str, Any]) -> None:
    message = told["a pool that is there"]["data"]["message"]
    assert message == "pool name is not available"
