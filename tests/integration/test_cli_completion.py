"""Completion in a real bash: names of what a service has, by the script that ``cenote completion`` prints."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cenote_client import Client
from tests.support.service import CENOTE, Service, clean_environment, online_cluster
from tests.support.waiting import wait_until

# Only readline sets these variables, and only while a completion runs: so they are set here as it does.
_DRIVER = r"""
eval "$(cenote completion bash)"
complete -p cenote >/dev/null || exit 9
compopt() { echo "compopt $*" >&2; }
COMP_LINE=$1
COMP_POINT=${#COMP_LINE}
COMP_KEY=9
COMP_TYPE=9
COMP_WORDS=()
COMP_CWORD=0
_cenote_completion cenote
printf '%s\n' "${COMPREPLY[@]}"
"""


def completed(line: str, **environment: str) -> list[str]:
    """Return what bash would be given for this line; nothing may be written to the terminal."""
    done = _bash(line, environment)
    assert (done.returncode, done.stderr.replace("compopt -o nospace\n", "")) == (0, ""), done
    return [word for word in done.stdout.splitlines() if word]


def _bash(line: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    clean = clean_environment()
    return subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", _DRIVER, "bash", line],
        env=clean | {"PATH": f"{Path(CENOTE).parent}:{clean['PATH']}"} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture(scope="module")
def here(running: Service, client: Client) -> dict[str, str]:
    """The environment of a shell on a service that has something of every kind."""
    cluster = online_cluster(client, "backend", tags=["team:web"])
    id = cluster["id"]
    client.databases.add_user(id, {"name": "app"})
    client.databases.add(id, {"name": "orders"})
    body: Any = {"name": "web-pool", "mode": "transaction", "size": 2, "db": "orders", "user": "app"}
    client.databases.add_connection_pool(id, body)
    rules: Any = [{"type": "ip_addr", "value": "2001:db8::7"}]
    client.databases.update_firewall_rules(id, {"rules": rules})
    config: Any = {"server": "192.0.2.1", "port": 514, "format": "rfc5424"}
    client.databases.create_logsink(id, {"sink_name": "my logs", "sink_type": "rsyslog", "config": config})
    client.cenote.create_token({"name": "deploy", "scopes": ["database:read"]})
    client.request("POST", "/v2/projects", json={"name": "shop"})
    client.request("POST", "/v2/vpcs", json={"name": "inner-net", "region": "nyc1"})
    # A busy machine may take longer than someone would wait.
    return {"CENOTE_DATA_DIR": str(running.data_dir), "CENOTE_COMPLETION_SECONDS": "60"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cenote cluster get b", ["backend"]),
        ("cenote cluster create x --size=db-s-1vcpu", ["db-s-1vcpu-1gb", "db-s-1vcpu-2gb"]),
        ("cenote cluster create x --size db-s-1vcpu", ["db-s-1vcpu-1gb", "db-s-1vcpu-2gb"]),
        ("cenote cluster resize backend db-s-6", ["db-s-6vcpu-16gb"]),
        ("cenote cluster create x --region ny", ["nyc1", "nyc2", "nyc3"]),
        ("cenote cluster migrate backend to", ["tor1"]),
        ("cenote cluster create x --project sh", ["shop"]),
        ("cenote cluster create x --vpc inn", ["inner-net"]),
        ("cenote cluster create x --tag te", ["team:web"]),
        ("cenote cluster list --tag team:w", ["web"]),
        ("cenote tag add t", ["team:web"]),
        ("cenote tag add prod b", ["backend"]),
        ("cenote pool get backend ", ["web-pool"]),
        ("cenote pool update backend w", ["web-pool"]),
        ("cenote pool delete backend w", ["web-pool"]),
        ("cenote pool stats backend w", ["web-pool"]),
        ("cenote pool create backend x --db ", ["defaultdb", "orders"]),
        ("cenote pool create backend x --user a", ["app"]),
        ("cenote pool create backend x --mode s", ["session", "statement"]),
        ("cenote uri backend --pool ", ["web-pool"]),
        ("cenote psql backend --pool ", ["web-pool"]),
        ("cenote user reset backend ", ["doadmin", "app"]),
        ("cenote user delete backend a", ["app"]),
        ("cenote db delete backend o", ["orders"]),
        ("cenote db create backend x --owner a", ["app"]),
        ("cenote logsink get backend ", ["my\\ logs"]),
        ("cenote firewall remove backend 2001:db8:", [":7"]),
        ("cenote token revoke d", ["deploy"]),
        ("cenote token create x --scope database:r", ["read"]),
        ("cenote project get sh", ["shop"]),
        ("cenote vpc get inn", ["inner-net"]),
        ("cenote cluster config backend work_m", ["work_mem="]),
        ("cenote cluster config backend work_mem=1 pgbouncer.server_l", ["pgbouncer.server_lifetime="]),
        ("cenote cluster maintenance backend --day f", ["friday"]),
        ("cenote -", ["--version", "--help"]),
        ("cenote lo", ["logsink"]),
    ],
)
def test_what_a_service_has_is_completed(here: dict[str, str], line: str, words: list[str]) -> None:
    assert completed(line, **here) == words


def test_versions_are_completed(here: dict[str, str], client: Client) -> None:
    versions = client.databases.list_options()["options"]["pg"]["versions"]
    assert completed("cenote cluster create x --version ", **here) == list(versions)


@pytest.mark.parametrize(
    "line",
    [
        "cenote pool get nobody ",
        "cenote uri --pool ",
        "cenote pool get backend x y",
        "cenote cluster get 'back",
    ],
)
def test_a_line_without_an_answer_is_left_alone(here: dict[str, str], line: str) -> None:
    assert completed(line, **here) in ([], ["backend"])


LINES: Sequence[str] = ("cenote cluster get b", "cenote pool get backend ", "cenote cluster create x --size ")


@pytest.mark.parametrize("line", LINES)
def test_without_a_service_nothing_is_said(line: str, tmp_path: Path) -> None:
    assert completed(line, CENOTE_DATA_DIR=str(tmp_path)) == []
    # Nobody listens there.
    address = "https://127.0.0.1:1"
    assert completed(line, DIGITALOCEAN_API_URL=address, DIGITALOCEAN_TOKEN="cenote_v1_x") == []
    assert completed(line, DIGITALOCEAN_TOKEN="dop_v1_x") == []


@pytest.mark.parametrize("line", LINES)
def test_a_service_that_does_not_answer_is_not_waited_for(line: str) -> None:
    with socket.create_server(
        ("127.0.0.1", 0), backlog=8
    ) as server:  # it accepts nothing, and answers nothing
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert completed(line, DIGITALOCEAN_API_URL=address, DIGITALOCEAN_TOKEN="cenote_v1_x") == []


def test_a_value_follows_a_setting_without_a_blank(here: dict[str, str]) -> None:
    assert _bash("cenote cluster config backend work_m", here).stderr == "compopt -o nospace\n"


@pytest.mark.parametrize(
    ("begun", "whole"),
    [
        ("cenote cluster get b", "cenote cluster get backend "),
        ("cenote cluster list --tag team:w", "cenote cluster list --tag team:web "),
        ("cenote firewall remove backend 2001:db8:", "cenote firewall remove backend 2001:db8::7 "),
        ("cenote logsink get backend m", "cenote logsink get backend my\\ logs "),
        ("cenote cluster create x --size=db-s-6", "cenote cluster create x --size=db-s-6vcpu-16gb "),
    ],
)
def test_a_key_on_a_terminal_completes_the_line(here: dict[str, str], begun: str, whole: str) -> None:
    with terminal(here) as typed:
        typed(b'eval "$(cenote completion bash)"; PS1="ready> "\n')
        wait_until("the shell is ready", 60, lambda: "ready> " in typed(b"").replace('PS1="ready> "', ""))
        typed(begun.encode())
        typed(b"\t")
        wait_until(f"{begun!r} is completed", 60, lambda: whole in typed(b""))


@contextlib.contextmanager
def terminal(environment: dict[str, str]) -> Iterator[Callable[..., str]]:
    """A bash on a terminal: yield a function that types, and returns all that the terminal has shown."""
    clean = clean_environment()
    control, end = pty.openpty()
    shell = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        env=clean | {"PATH": f"{Path(CENOTE).parent}:{clean['PATH']}", "TERM": "dumb"} | environment,
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
    )
    os.close(end)
    shown = b""

    def typed(keys: bytes) -> str:
        nonlocal shown
        os.write(control, keys)
        while select.select([control], [], [], 0.1)[0]:
            shown += os.read(control, 4096)
        return shown.decode(errors="replace")

    try:
        yield typed
    finally:
        shell.kill()
        shell.wait()
        os.close(control)
