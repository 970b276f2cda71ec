"""A host joins by one command, or is refused in words."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import secrets
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from cenote.host import identity
from cenote.model.fleet_ports import COUNT
from cenote.model.paths import Layout
from cenote.security import certificates, join_tokens
from cenote.security.join_tokens import JoinText
from cenote_client import ConflictError
from tests.support.clocks import Clock
from tests.support.console import visitor
from tests.support.fleet import Fleet, FleetHost, answers, fleet, token_of
from tests.support.folders import server_folder
from tests.support.ports import free_range
from tests.support.service import online_cluster, service


class Newcomer(FleetHost):
    """A host that has nothing but what the command says."""

    def __init__(self, root: Path, number: int, token: str, *options: str, **given: Any) -> None:
        data_dir = root / f"new-{number}"
        data_dir.mkdir(mode=0o711, exist_ok=True)
        super().__init__(data_dir, number, f"--join={token}", *options, fleet_port=free_range(COUNT), **given)

    def refusal(self) -> str:
        """What it says when it is not let in."""
        assert self.launch().wait(timeout=60) == 1
        said = self.log()
        assert "Traceback" not in said
        return said


@pytest.fixture(scope="module")
def first() -> Iterator[Fleet]:
    with fleet(1) as hosts:
        yield hosts


@pytest.fixture
def folder() -> Iterator[Path]:
    with server_folder() as made:
        made.chmod(0o711)
        yield made


@contextlib.contextmanager
def started(host: Newcomer) -> Iterator[Newcomer]:
    try:
        host.start()
        yield host
    finally:
        host.clean_up()


def test_a_host_joins_by_one_command_and_runs_clusters_of_its_own_api(first: Fleet, folder: Path) -> None:
    token = token_of(first.hosts[0])
    with started(Newcomer(folder, 2, token)) as second:
        layout = Layout(second.data_dir)
        assert {path.stat().st_mode & 0o777 for path in layout.fleet.iterdir()} == {0o600}
        with first.hosts[0].client() as client, second.client() as other:
            names = {host["name"] for host in client.cenote.list_hosts()["hosts"]}
            assert names >= {"host-1", "host-2"}
            made = online_cluster(other, "theirs")
            assert client.databases.get_cluster(made["id"])["database"]["name"] == "theirs"
            assert answers([*first.hosts, second], made)
        second.end()
        second.start()  # with the same token, which was used by this very directory


def test_a_host_without_an_api_joins_and_serves_none(first: Fleet, folder: Path) -> None:
    token = token_of(first.hosts[0], "--roles", "database")
    with started(Newcomer(folder, 3, token)) as worker:
        layout = Layout(worker.data_dir)
        known = identity.read(layout)
        assert known is not None
        assert known.roles == ("database",)
        assert worker.processes().keys() == {"supervisor", "agent"}
        assert not layout.api.exists()
        assert not layout.authority_key.exists()
        assert "this host of the fleet has no API" in worker.run("host", "list").stderr
        with first.hosts[0].client() as client:
            found = {host["name"]: host for host in client.cenote.list_hosts()["hosts"]}
            assert found["host-3"]["address"] == "127.0.1.3"
        worker.end()
        worker.start()


def test_a_token_is_used_once(first: Fleet, folder: Path) -> None:
    token = token_of(first.hosts[0])
    with started(Newcomer(folder, 4, token)):
        said = Newcomer(folder, 5, token).refusal()
    assert "the token was used already, by the host host-4" in said
    assert "'cenote host token'" in said


def test_a_token_expires_and_can_be_revoked(first: Fleet, folder: Path) -> None:
    host = first.hosts[0]
    with host.client() as client:
        revoked = token_of(host, "--expires", "50m")
        listed = client.cenote.list_host_tokens()["host_tokens"][-1]
        client.cenote.revoke_host_token(listed["id"])
        assert "the token is not known" in Newcomer(folder, 5, revoked).refusal()
        soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
        made = client.cenote.create_host_token({"expires_at": soon})["host_token"]["token"]
        time.sleep(2)
        assert "the token has expired at" in Newcomer(folder, 5, made).refusal()


def test_a_token_is_for_its_roles(first: Fleet, folder: Path) -> None:
    token = token_of(first.hosts[0], "--roles", "database")
    said = Newcomer(folder, 5, token, "--roles=api,database").refusal()
    assert "the token is for the roles database, and this host is to have api, too" in said


def test_a_token_with_another_authority_is_refused(first: Fleet, folder: Path) -> None:
    token = token_of(first.hosts[0])
    wrong = re.sub(r"join-[0-9a-f]{64}", "join-" + "0" * 64, token)
    said = Newcomer(folder, 5, wrong).refusal()
    assert "shows a CA with another hash than that in the token" in said


def test_a_name_that_is_taken_is_refused(first: Fleet, folder: Path) -> None:
    said = Newcomer(folder, 5, token_of(first.hosts[0]), "--name=host-1").refusal()
    assert "another host of the fleet is named host-1" in said
    assert "--name" in said


def test_a_clock_that_is_wrong_is_refused(first: Fleet, folder: Path) -> None:
    clock = Clock(folder)
    for shift, words in ((timedelta(minutes=10), "10 minutes ahead of"), (timedelta(minutes=-10), "behind")):
        clock.set(shift)
        newcomer = Newcomer(folder, 5, token_of(first.hosts[0]))
        newcomer._environment |= clock.environment
        said = newcomer.refusal()
        assert "this host's clock is" in said
        assert words in said


def test_a_data_directory_of_another_service_is_refused(first: Fleet) -> None:
    with service() as other:
        other.end()
        other._options = ("--address=127.0.1.6", f"--join={token_of(first.hosts[0])}")
        assert other.launch().wait(timeout=60) == 1
        assert "belongs to another service already" in other.log()


def test_a_fleet_that_does_not_answer_is_named(folder: Path) -> None:
    token = f"cenote-join-{'0' * 64}-{'1' * 40}@127.0.1.1:{free_range(1)}"
    assert "the fleet cannot be reached at 127.0.1.1:" in Newcomer(folder, 5, token).refusal()


def test_a_service_that_stands_alone_has_no_tokens() -> None:
    with service() as alone, alone.client() as client:
        with pytest.raises(ConflictError, match="--address"):
            client.cenote.create_host_token()
        assert client.cenote.list_host_tokens() == {"host_tokens": [], "reached_at": None}


def asked(text: JoinText, source: str, **changed: str) -> tuple[int, str]:
    """Ask to join as no command does; return status and body of the answer."""
    unverified = ssl._create_unverified_context()  # noqa: S323
    body = {
        "secret": text.secret.reveal(),
        "id": str(uuid4()),
        "name": "guess",
        "address": "127.0.1.9",
        "port": 8444,
        "request": certificates.new_request()[1],
        "now": datetime.now(UTC).isoformat(),
    }
    with contextlib.closing(
        http.client.HTTPSConnection(
            text.address, text.port, timeout=10, context=unverified, source_address=(source, 0)
        )
    ) as connection:
        connection.request("POST", "/join", json.dumps(body | changed))
        response = connection.getresponse()
        return response.status, response.read().decode()


def test_guessed_tokens_are_throttled(first: Fleet) -> None:
    text = join_tokens.parse(token_of(first.hosts[0]))
    statuses = [asked(text, "127.0.0.77", secret=secrets.token_hex(20))[0] for _ in range(12)]
    assert statuses == [403] * 10 + [429] * 2


@pytest.mark.parametrize(
    "address", ["api.cenote", "STORE.cenote.", "00000000-0000-4000-8000-000000000001.host.cenote"]
)
def test_an_address_gives_no_role(first: Fleet, address: str) -> None:
    text = join_tokens.parse(token_of(first.hosts[0], "--roles", "database"))
    status, said = asked(text, "127.0.0.78", address=address)
    assert status == 422
    assert "cannot be the address of a host" in said


def test_a_request_with_a_key_of_another_kind_uses_no_token_up(first: Fleet) -> None:
    text = join_tokens.parse(token_of(first.hosts[0], "--roles", "database"))
    key = rsa.generate_private_key(65537, 2048)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, SHA256())
    for _ in range(2):
        status, said = asked(text, "127.0.0.78", request=request.public_bytes(Encoding.PEM).decode())
        assert (status, "its certificate request is malformed" in said) == (422, True)


def test_doctor_looks_at_the_other_hosts(first: Fleet, folder: Path) -> None:
    token = token_of(first.hosts[0], "--roles", "database")
    with started(Newcomer(folder, 8, token)) as worker:
        said = worker.run("doctor").stdout
        assert "this host is host-8" in said
        assert "port for joining of host host-1" not in said
        assert "clock" not in said

        clock = Clock(folder)
        clock.set(timedelta(minutes=10))
        worker._environment |= clock.environment
        assert "this host's clock is 10 minutes ahead of that of host host-1" in worker.run("doctor").stdout


def test_the_console_makes_a_token(first: Fleet) -> None:
    with visitor(first.hosts[0]) as somebody:
        asked = somebody.open("/console/hosts/tokens")
        made = somebody.send(asked, "Create token", 201, roles=["database"], expires="8")
        assert "cenote serve --address ADDRESS --join cenote-join-" in made.text
        again = somebody.open("/console/hosts/tokens")
        assert "cenote-join-" not in again.text
        button = next(form.button for form in again.forms if form.button.startswith("Revoke"))
        assert "Token revoked." in somebody.send(again, button).text
        refused = somebody.send(asked, "Create token", 422, roles=[], expires="8")
        assert "roles" in refused.text
