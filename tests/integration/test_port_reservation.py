"""Ports that are reserved for the servers of one service: others are refused, the servers are not."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from cenote.errors import Misconfigured
from cenote.host import port_reservation

HERE = "127.0.0.1"


@contextlib.contextmanager
def listening(port: int, *, shared: bool, address: str = HERE) -> Iterator[socket.socket]:
    """A listening socket, as PostgreSQL and PgBouncer open it if it is ``shared``: with SO_REUSEADDR."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(shared))
        one.bind((address, port))
        one.listen()
        yield one


@pytest.mark.parametrize("address", [HERE, "::1", "0.0.0.0"])
def test_a_server_of_ours_listens_on_a_reserved_port_again_and_again(address: str) -> None:
    with port_reservation.reserved(address, 8) as ports:
        assert len(ports) == 8
        for port in ports:
            for _ in range(2):
                with listening(port, shared=True, address=address):
                    to = HERE if address == "0.0.0.0" else address
                    socket.create_connection((to, port), timeout=5).close()


def test_a_program_without_the_option_is_refused_while_they_are_reserved() -> None:
    with port_reservation.reserved(HERE, 2) as ports:
        for port in ports:
            with pytest.raises(OSError, match="in use"), listening(port, shared=False):
                pass
    with listening(ports[0], shared=False):
        pass


def test_two_reservations_never_share_a_port() -> None:
    with contextlib.ExitStack() as stack:
        blocks = [stack.enter_context(port_reservation.reserved(HERE, 96)) for _ in range(12)]
        assert len({port for block in blocks for port in block}) == 12 * 96


def test_a_port_that_listens_is_passed_over() -> None:
    with port_reservation.reserved(HERE, 3) as ports:
        last = ports[-1]
    with listening(last, shared=True), pytest.raises(OSError, match="in use"):
        port_reservation._bound(HERE, last)


def test_more_ports_than_there_are_is_refused_with_words() -> None:
    with (
        pytest.raises(Misconfigured, match="choose others with --ports"),
        port_reservation.reserved(HERE, 64_000),
    ):
        pass
