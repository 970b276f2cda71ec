"""The account of the API: what it cannot reach, and that the service starts without it all the same."""

from __future__ import annotations

import json
import os
import pwd
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import process_table
from tests.support.pages import ROOT
from tests.support.scraping import Scraper
from tests.support.service import (
    CENOTE,
    Service,
    added_pool,
    answer_of,
    calling,
    online_cluster,
    service,
)
from tests.support.waiting import wait_until

ACCOUNT = "nobody"  # one that every system has
MAIN = "from cenote.cli import main; main()"
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root has more than one account")

PROBE = """
import os, sys, json
data, server, agent = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
def attempt(what):
    try:
        what()
    except PermissionError:
        return "refused"
    except Exception as error:
        return repr(error)
    return "done"
attempts = {
    "shadow": lambda: open("/etc/shadow").read(),
    "etcd": lambda: os.listdir(f"{data}/etcd"),
    "admin-token": lambda: open(f"{data}/admin-token").read(),
    "ca.key": lambda: open(f"{data}/ca.key").read(),
    "api.pem": lambda: open(f"{data}/api.pem").read(),
    "serve.lock": lambda: open(f"{data}/serve.lock", "a"),
    "a new file": lambda: open(f"{data}/mine", "w"),
    "kill of a server": lambda: os.kill(server, 0),
    "kill of the agent": lambda: os.kill(agent, 0),
    "memory of the agent": lambda: open(f"/proc/{agent}/mem", "rb"),
    "files of the agent": lambda: os.listdir(f"/proc/{agent}/fd"),
    "clusters": lambda: [os.listdir(one.path) for one in os.scandir(f"{data}/clusters")],
    "sockets": lambda: [os.listdir(one.path) for one in os.scandir(f"{data}/run")],
    "root": lambda: os.setuid(0),
}
print(json.dumps({name: attempt(what) for name, what in attempts.items()}))
"""


@pytest.fixture(scope="module")
def apart() -> Iterator[Service]:
    """A service whose API has an account of its own, with a cluster."""
    with service(f"--api-account={ACCOUNT}") as running:
        with running.client() as client:
            online_cluster(client, "backend")
        yield running


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@AS_ROOT
def test_the_api_has_the_ids_of_its_account_and_no_right_beyond(apart: Service) -> None:
    found, entry = status(apart.processes()["api"]), pwd.getpwnam(ACCOUNT)
    assert set(found["Uid"].split()) == {str(entry.pw_uid)}
    assert set(found["Gid"].split()) == {str(entry.pw_gid)}
    assert found["Groups"] == ""
    assert found["NoNewPrivs"] == "1"
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(found[name], 16) == 0
    for name in ("agent", "supervisor"):
        assert set(status(apart.processes()[name])["Uid"].split()) == {"0"}


@AS_ROOT
def test_what_the_api_must_not_reach_is_refused_to_its_account(apart: Service) -> None:
    entry = pwd.getpwnam(ACCOUNT)
    as_api = ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
    server, agent = apart.servers()["PostgreSQL"], apart.processes()["agent"]
    done = subprocess.run(
        [
            *as_api,
            "--no-new-privs",
            "/usr/bin/env",
            "python3",
            "-c",
            PROBE,
            apart.data_dir,
            f"{server}",
            f"{agent}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    answers = json.loads(done.stdout)
    assert {name: answer for name, answer in answers.items() if answer != "refused"} == {}


@AS_ROOT
def test_the_api_holds_open_nothing_that_its_account_may_not_open(apart: Service) -> None:
    """Such as the lock, which whoever has it can release."""
    api = apart.processes()["api"]
    assert [
        path
        for path in process_table.open_files(api)
        if path.startswith(str(apart.data_dir)) and not path.endswith("serve.log")
    ] == []


@AS_ROOT
def test_an_account_that_is_missing_is_named_only_when_it_was_asked_for(apart: Service) -> None:
    refused = apart.run("serve", "--port=0", "--api-account=nobody-at-all")
    assert refused.returncode == 1
    assert "there is no system user 'nobody-at-all' to run the API as" in refused.stderr
    for name in ("root", "postgres"):
        refused = apart.run("serve", "--port=0", f"--api-account={name}")
        assert "--api-account must name a user of its own" in refused.stderr


def without_account(*command: str) -> list[str]:
    """Return a command for which there is no account ``cenote-api``."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this root may not make mount namespaces")
    script = "mount -t tmpfs none /run && sed '/^cenote-api:/d' /etc/passwd > /run/passwd && "
    return [
        "unshare",
        "--mount",
        "sh",
        "-c",
        script + 'mount --bind /run/passwd /etc/passwd && exec "$0" "$@"',
        *command,
    ]


@AS_ROOT
def test_without_the_account_everything_starts_and_doctor_says_what_is_lost() -> None:
    with service(command=without_account(CENOTE)) as running:
        assert set(status(running.processes()["api"])["Uid"].split()) == {"0"}
        assert running.log().count("the API runs as the same account as the agent") == 1
        told = running.cenote("doctor")
        assert "notice   the API runs as the same account as the agent" in told
        assert "useradd --system" in told
        assert told.endswith("All dependencies found\n")


@AS_ROOT
def test_files_of_ours_that_the_account_cannot_read_are_read_before() -> None:
    """The whole installation is below a folder that only root may enter."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this root may not make mount namespaces")
    sources = ":".join(f"/run/closed/here/packages/{name}/src" for name in ("cenote", "cenote-client"))
    venv, root = Path(sys.prefix).relative_to(ROOT), shlex.quote(str(ROOT))
    script = (
        "mount -t tmpfs -o mode=755 none /run && mkdir -m 700 /run/closed && mkdir /run/closed/here && "
        f"mount --bind {root} /run/closed/here && mount -t tmpfs -o mode=700 none {root} && "
        f'PYTHONPATH={sources} exec /run/closed/here/{venv}/bin/python -c "$0" "$@"'
    )
    with service(
        f"--api-account={ACCOUNT}", command=("unshare", "--mount", "sh", "-c", script, MAIN)
    ) as running:
        with running.client() as client, calling(running) as http:
            cluster = online_cluster(client, "backend")
            pool = added_pool(client, cluster["id"], "pool")
            assert answer_of(pool["connection"]["uri"]) == 42
            for path in ("/metrics", "/docs", "/openapi.json", "/console/sign-in", "/v2/databases/options"):
                assert http.get(path, follow_redirects=True).status_code == 200, path
            wait_until("the metrics are there", 20, Scraper(client, cluster).answers)
        for word in ("Traceback", "a defect in Cenote", "ModuleNotFoundError", "Permission denied"):
            assert word not in running.log()
