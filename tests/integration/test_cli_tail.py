"""``cenote events`` and ``cenote audit``: what is shown, what follows, and how they end."""

from __future__ import annotations

import json
import subprocess
from typing import Any
from uuid import uuid4

import pytest
import yaml

from cenote_client import Client, InvalidError
from tests.support.service import CENOTE, SMALLEST, Service, clean_environment, run_cenote
from tests.support.waiting import wait_until

pytestmark = pytest.mark.service("--requests-per-minute=0")

Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def cluster(running: Service) -> str:
    """Return the id of a cluster; no test needs its servers."""
    with running.client() as client:
        made = created(client, "backend")
        created(client, "other")
        return str(made["id"])


def created(client: Client, name: str) -> Any:
    body: Any = SMALLEST | {"name": name}
    return client.databases.create_cluster(body)["database"]


def ran(running: Service, *arguments: str) -> Done:
    return run_cenote(*arguments, f"--data-dir={running.data_dir}")


def test_events_are_those_of_one_cluster_or_of_all(running: Service, cluster: str) -> None:
    for named in ("backend", cluster):
        shown = ran(running, "events", named, "--output=value", "--field=cluster_name").stdout
        assert set(shown.split()) == {"backend"}
    shown = ran(running, "events", "--output=value", "--field=cluster_name").stdout
    assert set(shown.split()) == {"backend", "other"}


def test_events_are_shown_newest_first_in_every_form(running: Service, cluster: str) -> None:
    table = ran(running, "events", "backend").stdout.splitlines()
    assert table[0].split() == ["WHEN", "EVENT", "CLUSTER", "WHO", "FROM", "OUTCOME", "CHANGES"]
    assert table[-1].split()[1:5] == ["cluster_create", "backend", "admin", "127.0.0.1"]
    assert "cluster backend: added (PostgreSQL " in table[-1]
    answered = json.loads(ran(running, "events", "backend", "--output=json").stdout)
    assert [event["id"] for event in answered] == sorted((event["id"] for event in answered), reverse=True)
    assert yaml.safe_load(ran(running, "events", "backend", "--output=yaml").stdout) == answered
    last = ran(running, "events", "backend", "--lines=1", "--output=value", "--field=id").stdout
    assert last.strip() == answered[0]["id"]


def test_the_trail_shows_who_was_refused_and_what_the_service_did(running: Service, cluster: str) -> None:
    with running.client() as client, pytest.raises(InvalidError, match="doadmin"):
        client.databases.delete_user(cluster, "doadmin")

    def found() -> list[list[str]]:
        shown = ran(running, "audit", cluster, *("--output=value", *fields("who", "refused", "what"))).stdout
        return [line.split("\t") for line in shown.splitlines()]

    wanted = f"DELETE /v2/databases/{cluster}/users/doadmin"
    wait_until("the refusal is in the trail", 30, lambda: [wanted in row for row in found()].count(True))
    who, refused, _ = next(row for row in found() if wanted in row)
    assert refused == "422"
    assert who not in ("", "unknown", "cenote")
    assert [who, "", "POST /v2/databases"] in found()


def fields(*names: str) -> list[str]:
    return [f"--field={name}" for name in names]


def test_a_caller_without_a_good_token_is_shown_as_unknown(running: Service) -> None:
    stranger = running.environment() | {"DIGITALOCEAN_TOKEN": "x", "DIGITALOCEAN_ACCESS_TOKEN": "x"}
    assert run_cenote("events", **stranger).returncode == 1

    def found() -> list[str]:
        shown = ran(running, "audit", "--output=value", *fields("who", "refused")).stdout
        return [line for line in shown.splitlines() if line == "unknown\t401"]

    wait_until("the stranger is in the trail", 30, found)


@pytest.mark.parametrize("form", ["table", "value", "json", "yaml"])
def test_what_comes_follows_once_each(running: Service, cluster: str, form: str) -> None:
    name = f"t{uuid4().hex[:8]}"
    command = [CENOTE, "audit", "--follow", "--lines=1", f"--output={form}"]
    followed = subprocess.Popen(
        [*command, f"--data-dir={running.data_dir}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=clean_environment() | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        assert followed.stdout is not None
        seen = followed.stdout.readline()  # from here on it follows
        with running.client() as client:
            for number in range(3):
                client.databases.add(cluster, {"name": f"{name}{number}"})
                client.databases.delete(cluster, f"{name}{number}")
        while seen.count(f"/dbs/{name}") < 3:
            line = followed.stdout.readline()
            assert line, seen
            seen += line
        for number in range(3):
            assert seen.count(f"DELETE /v2/databases/{cluster}/dbs/{name}{number}") == 1
        assert seen.index(f"{name}0") < seen.index(f"{name}1") < seen.index(f"{name}2")
        assert seen.count("WHEN") == (1 if form == "table" else 0)
    finally:
        followed.kill()
        followed.wait()
        if followed.stdout is not None:
            followed.stdout.close()


def test_a_deleted_cluster_is_found_in_the_trail_by_its_id(running: Service) -> None:
    with running.client() as client:
        id = created(client, "gone")["id"]
        client.databases.destroy_cluster(id)
    shown = ran(running, "audit", id, "--output=value", "--field=what").stdout.splitlines()
    assert f"DELETE /v2/databases/{id}" in shown
    done = ran(running, "events", "gone")
    assert (done.returncode, done.stdout) == (1, "")
    assert "cluster 'gone' not found" in done.stderr


def test_who_is_no_administrator_is_refused_in_a_line(running: Service) -> None:
    reader = running.cenote("token", "create", "reader", "--scope", "database:read").strip()
    environment = running.environment() | {
        "DIGITALOCEAN_TOKEN": reader,
        "DIGITALOCEAN_ACCESS_TOKEN": reader,
    }
    done = run_cenote("audit", **environment)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "cenote:admin" in done.stderr
    assert run_cenote("events", **environment).returncode == 0


@pytest.mark.parametrize("arguments", [("events", "--lines=0"), ("audit", "--lines=many")])
def test_a_number_that_makes_no_sense_is_wrong_usage(arguments: tuple[str, ...]) -> None:
    assert run_cenote(*arguments).returncode == 2
