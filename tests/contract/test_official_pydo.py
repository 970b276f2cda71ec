"""The official pydo, as it is on PyPI, against a real ``cenote serve``; its URIs then serve any driver."""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg  # type: ignore[import-untyped]
import psycopg
import pytest

from cenote.security import certificates
from cenote_client import _operations
from tests.support.official_pydo import official_answer
from tests.support.reference import Reference
from tests.support.service import Service, answer_of
from tests.support.through import NUMBER, service

SCRIPTS = Path(__file__).with_name("official")
BURST = 30  # requests a minute: those that the refusals need, and some to spend


@dataclass
class Story:
    """What the official client was told, and the CA that it was given."""

    told: dict[str, Any]
    authority: Path

    def uri(self, what: str = "pool") -> str:
        uri: str = next(iter(self.told[what].values()))["connection"]["uri"]
        return uri

    def checked(self) -> dict[str, str]:
        """Return the parameters that make libpq check the server's certificate and name."""
        return {"sslmode": "verify-full", "sslrootcert": str(self.authority)}


def played(name: str, running: Service, **environment: str) -> Any:
    variables = running.environment()
    script = (SCRIPTS / name).read_text()
    known = {key: variables[key] for key in ("DIGITALOCEAN_TOKEN", "DIGITALOCEAN_API_URL")}
    return official_answer(script, variables["SSL_CERT_FILE"], **known, **environment)


@pytest.fixture(scope="module", params=[NUMBER] if NUMBER else [0, 2], ids="through host {}".format)
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """What a client is told by a service that stands alone, and by one whose cluster is on another host."""
    with service(number=request.param) as running:
        told = played("first_steps.py", running)
        authority = tmp_path_factory.mktemp("ca") / "ca.crt"
        authority.write_bytes(base64.b64decode(told["ca"]["ca"]["certificate"]))
        yield Story(told, authority)


@pytest.fixture(scope="module")
def refusals() -> Iterator[dict[str, Any]]:
    with service(f"--requests-per-minute={BURST}") as running:
        yield played("refusals.py", running, BURST=str(BURST))


def test_a_pool_is_answered_with_all_that_it_takes_to_connect(story: Story) -> None:
    pool = story.told["pool"]["pool"]
    assert {key: pool[key] for key in ("user", "name", "size", "db", "mode")} == {
        "user": "doadmin",
        "name": "backend-pool",
        "size": 2,
        "db": "defaultdb",
        "mode": "transaction",
    }
    connection = pool["connection"]
    uri = urlsplit(connection["uri"])
    assert (uri.scheme, uri.path, uri.query) == ("postgres", "/backend-pool", "sslmode=require")
    assert (uri.username, uri.password) == (connection["user"], connection["password"])
    assert (uri.hostname, uri.port) == (connection["host"], connection["port"])
    assert (connection["user"], connection["database"], connection["ssl"]) == (
        "doadmin",
        "backend-pool",
        True,
    )
    assert set(pool["private_connection"]) == set(connection)
    assert story.told["pool added"] == story.told["pool"]


def test_a_cluster_keeps_the_connection_that_it_was_created_with(story: Story) -> None:
    created, later = story.told["created"]["database"], story.told["cluster"]["database"]
    assert created["status"] in ("creating", "online")
    assert later["status"] == "online"
    assert created["connection"] == later["connection"]
    assert created["private_connection"] == later["private_connection"]
    assert created["connection"]["password"]


def test_clusters_are_listed_and_found_by_their_tag(story: Story) -> None:
    assert [one["name"] for one in story.told["listed"]["databases"]] == ["backend"]
    assert [one["name"] for one in story.told["tagged"]["databases"]] == ["backend"]
    assert story.told["tagged otherwise"]["databases"] == []


def test_the_options_name_what_the_cluster_was_made_of(story: Story) -> None:
    options, cluster = story.told["options"]["options"]["pg"], story.told["cluster"]["database"]
    assert cluster["version"] in options["versions"]
    assert cluster["region"] in options["regions"]
    assert cluster["size"] in options["layouts"][0]["sizes"]


def test_databases_and_users_are_added_and_listed(story: Story) -> None:
    told = story.told
    assert told["database added"] == told["database"] == {"db": {"name": "orders"}}
    assert [one["name"] for one in told["databases"]["dbs"]] == ["defaultdb", "orders"]
    assert told["user added"] == told["user"] == told["user updated"]
    assert [one["name"] for one in told["users"]["users"]] == ["doadmin", "app"]


def test_a_password_that_was_reset_is_another_one_and_works(story: Story) -> None:
    before, after = story.told["user"]["user"]["password"], story.told["user reset"]["user"]["password"]
    assert before != after
    inbound = story.uri("pool after the update")
    assert answer_of(inbound, "SELECT current_user", user="app", password=after, **story.checked()) == "app"
    with pytest.raises(psycopg.OperationalError):
        answer_of(inbound, user="app", password=before, **story.checked())


def test_a_pool_is_updated_in_place(story: Story) -> None:
    assert story.told["pool updated"] is None
    pool = story.told["pool after the update"]["pool"]
    assert (pool["mode"], pool["size"], pool["user"]) == ("transaction", 3, "")
    assert [one["name"] for one in story.told["pools"]["pools"]] == ["backend-pool", "inbound"]


@pytest.mark.parametrize("what", ["pool", "user", "database", "cluster"])
def test_what_is_deleted_is_answered_with_no_content(story: Story, what: str) -> None:
    assert story.told[f"{what} deleted"] is None


@pytest.mark.parametrize("what", ["pool", "cluster"])
def test_what_was_deleted_is_not_found(story: Story, what: str) -> None:
    assert story.told[f"{what} that was deleted"]["id"] == "not_found"


@pytest.mark.parametrize("what", ["pool", "inbound pool added", "cluster"])
def test_psycopg_connects_by_the_uri_with_full_verification(story: Story, what: str) -> None:
    assert answer_of(story.uri(what), "SELECT 40 + 2", **story.checked()) == 42


def test_psql_connects_by_the_uri_with_full_verification(story: Story) -> None:
    uri = story.uri().replace("sslmode=require", f"sslmode=verify-full&sslrootcert={story.authority}")
    done = subprocess.run(
        ["psql", "--no-psqlrc", "-Atc", "SELECT 40 + 2", uri], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("42\n", "", 0)


def test_asyncpg_keeps_prepared_statements_in_a_transaction_pool(story: Story) -> None:
    """More clients than server connections: each statement meets servers that it was not prepared on."""
    trusting = ssl.create_default_context(cafile=story.authority)
    assert trusting.check_hostname

    async def ask(number: int) -> list[int]:
        connection = await asyncpg.connect(story.uri(), ssl=trusting)
        try:
            statement = await connection.prepare("SELECT $1::int * 10 + $2::int")
            return [await statement.fetchval(number, turn) for turn in range(10)]
        finally:
            await connection.close()

    async def all_of_them() -> list[list[int]]:
        return await asyncio.gather(*(ask(number) for number in range(6)))

    assert asyncio.run(all_of_them()) == [[n * 10 + turn for turn in range(10)] for n in range(6)]


def test_a_wrong_authority_is_noticed(story: Story, tmp_path: Path) -> None:
    authority, _ = certificates.new_authority("another")
    path = tmp_path / "other.crt"
    path.write_text(authority)
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        answer_of(story.uri(), sslmode="verify-full", sslrootcert=str(path))


@pytest.mark.parametrize("what", ["an unknown cluster", "an id that is no UUID", "an unknown pool"])
def test_what_is_not_found_is_returned(refusals: dict[str, Any], what: str) -> None:
    told = refusals[what]["returned"]
    assert told["id"] == "not_found"
    assert told["message"] == "The resource you requested could not be found."


def refused(message: str) -> tuple[str, int, str, str]:
    return ("HttpResponseError", 422, "unprocessable_entity", message)


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (
            "a bad token",
            ("ClientAuthenticationError", 401, "unauthorized", "Unable to authenticate you."),
        ),
        ("a cluster's name that is taken", refused("cluster name is not available")),
        ("a pool's name that is taken", refused("pool name is not available")),
        ("another engine", refused("operation is not supported for this cluster type")),
        ("an operation of another engine", refused("operation is not supported for this cluster type")),
        (
            "a spent limit",
            ("HttpResponseError", 429, "too_many_requests", "API rate limit exceeded."),
        ),
    ],
)
def test_a_refusal_is_raised_with_its_words(
    refusals: dict[str, Any], what: str, expected: tuple[str, int, str, str]
) -> None:
    told = refusals[what]
    assert (told["raised"], told["status"], told["body"]["id"], told["body"]["message"]) == expected


def test_a_spent_burst_says_when_to_come_again(refusals: dict[str, Any]) -> None:
    assert 1 <= int(refusals["a spent limit"]["retry-after"]) <= 60 + BURST // 4  # the last of many refused
    assert [what for what, told in refusals.items() if told.get("retry-after")] == ["a spent limit"]


@pytest.fixture(scope="module")
def neighbours() -> Iterator[dict[str, Any]]:
    with service() as running:
        yield played("neighbours.py", running)


def test_vpcs_are_changed_and_list_their_members(neighbours: dict[str, Any]) -> None:
    told, vpc = neighbours, neighbours["vpc"]
    assert told["vpc updated"]["vpc"] == {**vpc, "name": "outer"}
    assert told["vpc patched"]["vpc"] == {**vpc, "name": "middle"}
    [member] = told["members"]["members"]
    assert (member["name"], member["urn"]) == ("backend", f"do:dbaas:{told['cluster']['id']}")
    assert told["members without it"]["members"] == []
    assert [told[what] for what in ("vpc deleted", "cluster deleted")] == [None, None]


def test_projects_are_changed_and_so_is_the_default_one(neighbours: dict[str, Any]) -> None:
    told = neighbours
    for what, name in (("project updated", "store"), ("project patched", "market")):
        changed = told[what]["project"]
        assert (changed["id"], changed["name"], changed["is_default"]) == (
            told["project"]["id"],
            name,
            False,
        )
    assert told["project deleted"] is None
    for what, name in (("default", "default"), ("default updated", "first"), ("default patched", "second")):
        changed = told[what]["project"]
        assert (changed["name"], changed["is_default"]) == (name, True)
    assert [one["name"] for one in told["projects"]["projects"]] == ["second"]
    assert told["default resources"]["resources"] == []
    assert (told["tag"]["tag"]["name"], told["tag deleted"]) == ("production", None)


def test_all_that_is_set_of_a_cluster_is_set_by_the_official_client() -> None:
    with service() as running:
        told = played("settings.py", running)
    assert told["credentials then"]["credentials"]["basic_auth_username"] == "scraper"
    assert told["credentials"]["credentials"] != told["credentials then"]["credentials"]
    assert told["autoscale"]["autoscale"]["storage"]["increment_gib"] == 10
    assert told["config"]["config"]["work_mem"] == 8
    assert told["do settings"]["do_settings"]["service_cnames"] == []
    assert [rule["value"] for rule in told["firewall"]["rules"]] == ["127.0.0.1"]
    assert told["sink"]["sink"]["sink_name"] == "logs"
    assert told["sink then"]["config"]["port"] == 6515
    assert told["sinks"]["sinks"] == []
    assert "already" in told["not upgraded"]
    cluster = told["cluster"]["database"]
    assert (cluster["region"], cluster["size"]) == ("fra1", "db-s-1vcpu-2gb")
    assert cluster["maintenance_window"]["day"] == "sunday"
    kinds = {event["event_type"] for event in told["events"]["events"]}
    assert {"cluster_create", "cluster_update"} <= kinds
    for silent in ("credentials updated", "autoscale updated", "firewall updated", "window updated"):
        assert told[silent] is None


def test_a_migration_is_started_followed_and_stopped_by_the_official_client() -> None:
    with service() as running:
        told = played("migration.py", running)
    started, done = told["started"], told["done"]
    assert started["status"] == "running"
    assert {told[when]["id"] for when in ("started", "syncing", "done")} == {started["id"]}
    assert told["stopped"] is None
    assert done["status"] == "done"


def test_each_operation_for_postgresql_is_called_by_one_of_the_scripts() -> None:
    """Which method is which operation, our client says, whose names are pydo's."""
    called = {
        method
        for script in SCRIPTS.glob("*.py")
        for method in re.findall(r"\bdatabases\.(\w+)\b", script.read_text())
    }
    operations = {
        (operation.method, operation.path)
        for name, operation in vars(_operations).items()
        if isinstance(operation, _operations.Operation) and name.lower() in called
    }
    expected = {(method, re.sub(r"\{\w+\}", "{}", path)) for method, path in Reference().for_postgresql()}
    assert len(expected) == 51
    assert expected - operations == set()
