"""Connections to where a customer wants logs: to addresses that were judged, and to no other."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any

import psycopg
import pytest

from cenote.host.outbound import OutboundPolicy, Unreachable, is_own, reason_of
from cenote.logs.destinations import parse_network
from cenote.model.timing import Timing

LOOPBACK = (parse_network("127.0.0.1"),)


def own_addresses() -> set[str]:
    """Return addresses of this machine beside loopback, as the kernel tells them."""
    found = set()
    with open("/proc/net/fib_trie", encoding="ascii") as trie:
        before = ""
        for line in trie:
            if "/32 host LOCAL" in line:
                found.add(before.split()[-1])
            before = line
    return {address for address in found if not address.startswith("127.")}


def listening(scenario: Callable[[int, list[str]], Awaitable[None]]) -> list[str]:
    """Run something with a server on every address of this machine; return who has connected to it."""
    seen: list[str] = []

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("sockname")[0])
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(accept, "0.0.0.0", 0)
        async with server:
            await scenario(server.sockets[0].getsockname()[1], seen)

    asyncio.run(run())
    return seen


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "127.1", "::ffff:127.0.0.1"])
def test_nothing_that_listens_on_this_machine_is_reached(host: str) -> None:
    async def scenario(port: int, _: list[str]) -> None:
        with pytest.raises(Unreachable, match="where no log may be sent; see --log-sink-allow"):
            await OutboundPolicy().connect(host, port)

    assert listening(scenario) == []


def test_an_address_of_an_interface_is_our_own() -> None:
    assert is_own(ip_address("127.0.0.1"))
    assert is_own(ip_address("127.9.9.9"))
    assert not is_own(ip_address("192.0.2.1"))
    addresses = own_addresses()
    if not addresses:
        pytest.skip("this machine has no address but loopback")

    async def scenario(port: int, _: list[str]) -> None:
        for address in addresses:
            assert is_own(ip_address(address))
            with pytest.raises(Unreachable, match=r"an address of this host|a link-local address"):
                await OutboundPolicy().connect(address, port)

    assert listening(scenario) == []


def test_what_a_setting_opens_is_reached() -> None:
    async def scenario(port: int, seen: list[str]) -> None:
        connection = await OutboundPolicy(LOOPBACK).connect("localhost", port)
        with connection:
            assert connection.getpeername() == ("127.0.0.1", port)
        while not seen:
            await asyncio.sleep(0.01)

    assert listening(scenario) == ["127.0.0.1"]


def test_a_name_is_looked_up_once_and_the_address_that_was_judged_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name server that answers with another address each time gets nobody anywhere."""
    answers = ["127.0.0.1", "127.0.0.2", "127.0.0.2"]
    asked = []

    async def changing(_: Any, host: str, port: int, **__: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.pop(0), port))]

    async def scenario(port: int, seen: list[str]) -> None:
        monkeypatch.setattr(type(asyncio.get_running_loop()), "getaddrinfo", changing)
        policy = OutboundPolicy(LOOPBACK)
        (await policy.connect("rebinding.example.com", port)).close()
        while not seen:
            await asyncio.sleep(0.01)
        with pytest.raises(Unreachable, match=r"resolves to 127\.0\.0\.2, a loopback address"):
            await policy.connect("rebinding.example.com", port)

    assert listening(scenario) == ["127.0.0.1"]
    assert asked == ["rebinding.example.com"] * 2


def test_of_several_addresses_only_those_that_may_be_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async def several(_: Any, host: str, port: int, **__: Any) -> list[Any]:
        texts = ("169.254.169.254", "127.0.0.2", "127.0.0.1")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port)) for text in texts]

    async def scenario(port: int, _: list[str]) -> None:
        monkeypatch.setattr(type(asyncio.get_running_loop()), "getaddrinfo", several)
        assert await OutboundPolicy(LOOPBACK).permitted_addresses("several.example.com", port) == [
            (socket.AF_INET, ("127.0.0.1", port))
        ]

    listening(scenario)


def test_a_peer_that_is_not_there_is_told_of_in_words() -> None:
    async def scenario() -> None:
        policy = OutboundPolicy(LOOPBACK)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            with pytest.raises(
                Unreachable, match=f"cannot connect to localhost port {port}: connection refused"
            ):
                await policy.connect("localhost", port)
        with pytest.raises(Unreachable, match=r"the address of no-such-host\.invalid"):
            await policy.connect("no-such-host.invalid", 514)

    asyncio.run(scenario())


def test_a_name_that_is_looked_up_for_long_keeps_its_turn_after_nobody_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its thread is taken for as long; others wait for one of the few, and do not take all."""
    asked: list[str] = []
    hanging = threading.Event()

    def slow(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        if host.startswith("slow"):
            hanging.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "nobody answers")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async def scenario() -> None:
        policy = OutboundPolicy(LOOPBACK, Timing(name_lookup_timeout=2))

        async def permitted_addresses(host: str) -> None:
            with pytest.raises(Unreachable, match=f"looking up the address of {host} timed out"):
                await policy.permitted_addresses(host, 514)

        monkeypatch.setattr(socket, "getaddrinfo", slow)
        try:
            await asyncio.gather(permitted_addresses("slow-1"), permitted_addresses("slow-2"))
            quick = asyncio.create_task(policy.permitted_addresses("quick", 514))
            await asyncio.sleep(0.1)
            assert sorted(asked) == ["slow-1", "slow-2"]
        finally:
            hanging.set()
        assert await quick == [(socket.AF_INET, ("127.0.0.1", 514))]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "set 'cert' and 'key'"),
        ("TLSV1_ALERT_UNKNOWN_CA", "does not accept our client certificate"),
        ("WRONG_VERSION_NUMBER", "does not speak TLS on this port"),
        ("SOMETHING_ELSE", "TLS failed"),
    ],
)
def test_what_tls_says_is_told_with_what_mends_it(reason: str, words: str) -> None:
    error = ssl.SSLError(1, "…")
    error.reason = reason
    assert words in reason_of(error)


def test_an_error_that_nobody_knows_is_named_and_its_text_is_not() -> None:
    assert reason_of(psycopg.OperationalError("secret")) == "OperationalError"
