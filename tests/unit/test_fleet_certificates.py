"""What the certificates of hosts say, and who is told a secret by them."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from cenote.errors import Misconfigured
from cenote.model.fleet_records import HostRole
from cenote.model.joining import JoinRequest
from cenote.model.record import Secret
from cenote.security import certificates, fleet_certificates
from cenote.security.join_tokens import JoinText
from cenote.server import joining

CERTIFICATE, KEY = fleet_certificates.new_authority()


@pytest.mark.parametrize(
    "address",
    [
        "api.cenote",
        "API.Cenote",
        "store.cenote.",
        "00000000-0000-4000-8000-000000000001.host.cenote",
        "*.cenote",
        "a b",
        "",
    ],
)
def test_no_address_says_what_only_the_fleet_may_say(address: str) -> None:
    with pytest.raises(ValueError, match="cannot be the address of a host"):
        fleet_certificates.names_of_host("1", address, (HostRole.DATABASE,))


@pytest.mark.parametrize(
    "address", ["192.0.2.1", "2001:db8::1", "db-1.example.com", "cenote", "my-cenote.org"]
)
def test_other_addresses_are_names_beside_the_roles(address: str) -> None:
    names = fleet_certificates.names_of_host("1", address, (HostRole.DATABASE,))
    assert names == ("1.host.cenote", address, "database.cenote")
    assert fleet_certificates.roles_of(names) == {HostRole.DATABASE}


@contextlib.contextmanager
def listening(folder: Path, *roles: HostRole) -> Iterator[tuple[int, list[bytes]]]:
    """A host at 127.0.0.1 with these roles: its port, and what it was told."""
    key, request = certificates.new_request()
    names = fleet_certificates.names_of_host(str(uuid4()), "127.0.0.1", roles)
    shown = folder / "shown.pem"
    shown.write_text(key + fleet_certificates.sign(CERTIFICATE, KEY, request, names))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown)
    heard: list[bytes] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            accepted, _ = listener.accept()
            with accepted, context.wrap_socket(accepted, server_side=True) as connection:
                heard.append(connection.recv(65536))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], heard
        thread.join(10)


@pytest.mark.parametrize(("role", "is_told"), [(HostRole.DATABASE, False), (HostRole.API, True)])
def test_a_host_that_joins_tells_its_secret_to_hosts_with_the_role_api_alone(
    tmp_path: Path, role: HostRole, is_told: bool
) -> None:
    request = JoinRequest(
        secret="1" * 40,
        id=uuid4(),
        name="db-2",
        address="127.0.1.2",
        port=8444,
        request="",
        now=datetime.now(UTC),
    )
    with listening(tmp_path, role) as (port, heard), pytest.raises(Misconfigured) as refused:
        joining._ask(JoinText("0" * 64, Secret("1" * 40), "127.0.0.1", port), CERTIFICATE, request)
    assert bool(heard and heard[0]) == is_told
    assert ("does not prove that it is of the fleet" in str(refused.value)) == (not is_told)
