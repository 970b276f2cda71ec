"""Errors of commands: they name what was typed, and with ``-o json`` they are one JSON object on stderr."""

from __future__ import annotations

import json
import shlex
import socket
from typing import Any

import pytest

from cenote_client import Client
from tests.support.folders import server_folder
from tests.support.service import Service, online_cluster, run_cenote


@pytest.fixture(scope="module", autouse=True)
def backend(client: Client) -> Any:
    return online_cluster(client, "backend")


def typed(running: Service, line: str) -> Any:
    return run_cenote(*shlex.split(line), CENOTE_DATA_DIR=str(running.data_dir))


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("cluster create other --size small", "--size"),
        ("cluster create other --region mars", "--region"),
        ("cluster create other --version 7", "--version"),
        ("cluster create other --nodes 4", "--nodes"),
        ("cluster create other --storage-mib 5", "--storage-mib"),
        ("cluster create other --tag 'a b'", "--tag"),
        ("cluster create other --trusted-source everywhere", "--trusted-source"),
        ("cluster create -- -x", "NAME"),
        ("cluster create backend", "NAME"),
        ("user create backend doadmin", "NAME"),
        ("db create backend defaultdb", "NAME"),
        ("cluster resize backend small", "SIZE"),
        ("cluster resize backend db-s-1vcpu-2gb --storage-mib 5", "--storage-mib"),
        ("cluster resize backend db-s-1vcpu-2gb --nodes 4", "--nodes"),
        ("cluster migrate backend mars", "REGION"),
        ("cluster maintenance backend --hour 25", "--hour"),
        ("cluster autoscale backend --threshold 5", "--threshold"),
        ("cluster autoscale backend --increment 5", "--increment"),
        ("cluster hostnames backend a_b", "NAME"),
        ("cluster config backend colour=red", "KEY=VALUE"),
        ("cluster config backend work_mem=tiny", "work_mem"),
        ("cluster config backend pgbouncer.colour=1", "pgbouncer"),
        ("pool create backend x1 --size 500", "NAME"),
        ("pool create backend web --size 500", "--size"),
        ("pool create backend web --db nowhere", "--db"),
        ("pool create backend web --user nobody", "--user"),
        ("user create backend 'a b'", "NAME"),
        ("user update backend doadmin --access readonly", "--access"),
        ("user update backend doadmin --no-replication", "--replication"),
        ("db create backend orders --owner nobody", "--owner"),
        ("firewall add backend everywhere", "ADDRESS"),
        ("firewall add backend 192.0.2.1 --description 'a\nb'", "--description"),
        ("logsink create backend logs --server 192.0.2.1 --port 70000", "--port"),
        ("logsink create backend logs --server 'a b' --port 1", "--server"),
        ("logsink create backend logs --type opensearch --url x --index-prefix a", "--url"),
        ("logsink create backend /// --server 192.0.2.1 --port 514", "NAME"),
        ("project create shop --environment Nowhere", "--environment"),
        ("vpc create inner --region mars", "--region"),
        ("vpc create inner --region nyc1 --ip-range x", "--ip-range"),
        ("tag create 'a b'", "NAME"),
        ("token create ''", "NAME"),
    ],
)
def test_an_error_names_what_was_typed(running: Service, line: str, named: str) -> None:
    done = typed(running, line)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"cenote: {named}: ")


def test_a_password_that_is_refused_is_called_that(running: Service) -> None:
    import subprocess

    from tests.support.service import CENOTE, clean_environment

    done = subprocess.run(
        [CENOTE, "metrics", "login", "--user", "prometheus"],
        input="short\n",
        capture_output=True,
        text=True,
        env=clean_environment() | {"CENOTE_DATA_DIR": str(running.data_dir)},
        check=False,
    )
    assert done.stderr.startswith("cenote: password: ")


# -- As JSON


def error(done: Any, code: int) -> dict[str, Any]:
    """Return the one object on stderr."""
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done
    found = json.loads(done.stderr)
    assert set(found) == {"error"}
    assert set(found["error"]) == {"id", "message", "request_id", "status", "exit_code"}
    assert found["error"]["exit_code"] == code
    return dict(found["error"])


@pytest.mark.parametrize("form", ["-o json", "-ojson", "--output json", "--output=json"])
def test_a_refusal_of_the_service_is_json(running: Service, form: str) -> None:
    found = error(typed(running, f"cluster create other --size small {form}"), 1)
    assert (found["id"], found["status"]) == ("unprocessable_entity", 422)
    assert found["message"].startswith("--size: 'small' is not a size")
    assert found["request_id"] not in found["message"]


def test_what_is_not_there_is_json(running: Service) -> None:
    found = error(typed(running, "pool get backend nothing -o json"), 1)
    assert (found["id"], found["status"]) == ("not_found", 404)
    found = error(typed(running, "pool get nothing x -o json"), 1)
    assert (found["id"], found["status"], found["request_id"]) == ("refused", None, None)


@pytest.mark.parametrize(
    "line",
    [
        "cluster create -o json",
        "cluster create a b -o json",
        "cluster get backend --nonsense -o json",
        "pool create backend web --size many -o json",
        "pool create backend web --mode none -o json",
        "pool update backend web -o json",
        "cluster config backend work_mem -o json",
        "cluster config backend a=1 a.b=2 -o json",
        "cluster list --field name -o json",
        "logsink create backend logs --type opensearch --url https://a:b@x -o json",
        "nonsense -o json",
        "pool nonsense -o json",
        "stop -o json",
    ],
)
def test_wrong_usage_is_json(running: Service, line: str) -> None:
    found = error(typed(running, line), 2)
    assert (found["id"], found["status"], found["request_id"]) == ("usage", None, None)


def test_a_refusal_of_this_machine_is_json(running: Service) -> None:
    found = error(typed(running, "cluster delete backend -o json"), 1)
    assert "--yes" in found["message"]
    with server_folder() as folder:
        found = error(run_cenote("cluster", "list", "-o", "json", f"--data-dir={folder}"), 1)
    assert "no service found" in found["message"]
    found = error(run_cenote("cluster", "list", "-o", "json", DIGITALOCEAN_TOKEN="dop_v1_x"), 1)
    assert "DIGITALOCEAN_API_URL" in found["message"]


def test_an_unreachable_service_is_json() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
    here = {"DIGITALOCEAN_API_URL": address, "DIGITALOCEAN_TOKEN": "cenote_v1_x"}
    found = error(run_cenote("cluster", "list", "-o", "json", **here), 3)
    assert found["id"] == "unreachable"


def test_a_wrong_token_is_json(running: Service) -> None:
    wrong = running.environment() | {"DIGITALOCEAN_TOKEN": "cenote_v1_wrong"}
    found = error(run_cenote("cluster", "list", "-o", "json", **wrong), 1)
    assert (found["id"], found["status"]) == ("unauthorized", 401)


def test_other_forms_have_errors_in_words(running: Service) -> None:
    for form in ("yaml", "value", "table"):
        done = typed(running, f"cluster get nothing -o {form}")
        assert done.stderr.startswith("cenote: cluster 'nothing' not found")


def test_json_of_an_argument_is_not_a_form(running: Service) -> None:
    done = typed(running, "psql nothing -- -o json")
    assert done.stderr.startswith("cenote: ")


def test_the_form_of_a_command_that_is_run_is_its_own() -> None:
    failed = run_cenote("run", "--pool-size", "none", "pytest", "-o", "json")
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr.startswith("Usage: cenote run")
