"""Connections of clients that send too slowly or too much, or do not read, on a real HTTP server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from cenote.http.routing import Receive, Scope, Send
from cenote.http.server import Server
from cenote.http.timeouts import TimeoutProtocol
from tests.support.waiting import wait_until_async

END_SECONDS = 20  # a test that waits for an end that does not come fails after this
GET = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 10\r\n\r\n"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Streams]]


class Hasty(TimeoutProtocol):
    head_seconds = 0.2
    body_seconds = 0.2
    unread_seconds = 0.2
    head_bytes = 4096


class Patient(TimeoutProtocol):
    head_seconds = body_seconds = 60.0
    head_bytes = 4096


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that answers with the body that it gets, and says so when it gets no whole one."""
    assert scope["type"] == "http"
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            logging.getLogger("echo").info("the client has gone")
            return
        assert message["type"] == "http.request"
        body, more = body + message["body"], message["more_body"]
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def flood(scope: Scope, receive: Receive, send: Send) -> None:
    """An app whose answer has no end, and which says so when nobody is there to take it."""
    await receive()
    leaving = asyncio.ensure_future(receive())
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while not leaving.done():
        await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
        await asyncio.sleep(0)
    logging.getLogger("echo").info("the client has gone")


@contextlib.asynccontextmanager
async def serving(protocol: type[TimeoutProtocol], app: Any) -> AsyncIterator[Connect]:
    """Serve on a free port; give what opens a connection to it, which is closed at the end."""
    config = uvicorn.Config(app, port=0, http=protocol, lifespan="off", log_config=None)
    server = Server(config)
    running = asyncio.create_task(server.serve())
    opened: list[asyncio.StreamWriter] = []

    async def connect() -> Streams:
        reader, writer = await asyncio.open_connection(*server.servers[0].sockets[0].getsockname()[:2])
        opened.append(writer)
        return reader, writer

    try:
        while not server.started:
            await asyncio.sleep(0.01)
        yield connect
    finally:
        for writer in opened:
            writer.close()
        server.should_exit = True
        await running


async def told(reader: asyncio.StreamReader) -> bytes:
    """Return all that comes until the server ends the connection."""
    async with asyncio.timeout(END_SECONDS):
        return await reader.read()


def run(
    scenario: Callable[[Connect], Awaitable[None]], protocol: type[TimeoutProtocol] = Hasty, app: Any = echo
) -> None:
    async def whole() -> None:
        async with serving(protocol, app) as connect:
            await scenario(connect)

    asyncio.run(whole())


@pytest.mark.parametrize("begun", [b"", b"GET", b"GET / HTTP/1.1\r\nhost: here\r\n"])
def test_a_head_that_does_not_come_to_an_end_is_refused(begun: bytes) -> None:
    async def scenario(connect: Connect) -> None:
        reader, writer = await connect()
        writer.write(begun)
        assert (await told(reader)).startswith(b"HTTP/1.1 408 ")

    run(scenario)


def test_sending_a_byte_now_and_then_gains_no_time() -> None:
    async def scenario(connect: Connect) -> None:
        loop, (_, writer) = asyncio.get_running_loop(), await connect()
        # A bare socket: asyncio's streams drop the answer that has come when they cannot write any more.
        with socket.create_connection(writer.get_extra_info("peername")) as plain:
            plain.setblocking(False)

            async def drip() -> None:
                with contextlib.suppress(OSError):
                    for byte in b"GET / HTTP/1.1\r\nx-long: " + b"x" * 10_000:
                        await loop.sock_sendall(plain, bytes([byte]))
                        await asyncio.sleep(0.01)

            dripping = asyncio.create_task(drip())
            async with asyncio.timeout(END_SECONDS):
                assert (await loop.sock_recv(plain, 4096)).startswith(b"HTTP/1.1 408 ")
            dripping.cancel()
            await asyncio.wait([dripping])

    run(scenario)


def test_a_body_that_does_not_come_ends_the_connection_and_the_app_learns_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario(connect: Connect) -> None:
        reader, writer = await connect()
        writer.write(POST + b"12345")
        with contextlib.suppress(ConnectionError):
            assert await told(reader) == b""

    with caplog.at_level(logging.INFO, "echo"):
        run(scenario)
    assert "the client has gone" in caplog.text


def test_a_later_request_on_the_same_connection_has_its_own_time() -> None:
    async def scenario(connect: Connect) -> None:
        reader, writer = await connect()
        writer.write(GET)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.write(b"GET / HT")
        assert (await told(reader)).startswith(b"HTTP/1.1 408 ")

    run(scenario)


def test_an_idle_connection_between_requests_is_not_cut_by_the_time_for_a_head() -> None:
    async def scenario(connect: Connect) -> None:
        reader, writer = await connect()
        for _ in range(2):
            writer.write(POST + b"1234567890")
            answer = await reader.readuntil(b"1234567890")
            assert answer.startswith(b"HTTP/1.1 200 ")
            await asyncio.sleep(3 * Hasty.head_seconds)

    run(scenario)


def test_a_head_without_end_is_refused_by_its_size() -> None:
    async def scenario(connect: Connect) -> None:
        reader, writer = await connect()
        writer.write(b"GET / HTTP/1.1\r\nx-long: " + b"x" * 10_000)
        assert (await told(reader)).startswith(b"HTTP/1.1 431 ")

    run(scenario, Patient)


def test_a_whole_request_with_a_body_is_answered_however_it_is_cut() -> None:
    async def scenario(connect: Connect) -> None:
        reader, writer = await connect()
        for byte in POST + b"1234567890":
            writer.write(bytes([byte]))
            await writer.drain()
        assert (await reader.readuntil(b"1234567890")).startswith(b"HTTP/1.1 200 ")

    run(scenario, Patient)


def test_who_reads_nothing_of_an_answer_without_end_is_cut_off_and_the_app_learns_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario(connect: Connect) -> None:
        _, writer = await connect()
        writer.write(GET)
        await wait_until_async("the app was told", END_SECONDS, lambda: "the client has gone" in caplog.text)

    with caplog.at_level(logging.INFO, "echo"):
        run(scenario, app=flood)


def test_who_reads_slowly_gets_the_whole_answer() -> None:
    class Waiting(Patient):
        unread_seconds = 2.0

    size, piece = 24 * 1024 * 1024, 256 * 1024

    async def much(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"%d" % size)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * size, "more_body": False})

    async def scenario(connect: Connect) -> None:
        reader, writer = await connect()
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(size // piece):
            await reader.readexactly(piece)
            await asyncio.sleep(0.05)  # altogether far longer than a client may read nothing

    run(scenario, Waiting, much)


def test_many_requests_at_once_are_all_answered_in_order_and_few_of_them_wait() -> None:
    waiting: list[int] = []

    class Watched(Patient):
        def on_message_complete(self) -> None:
            super().on_message_complete()
            waiting.append(len(self.pipeline))

    async def scenario(connect: Connect) -> None:
        reader, writer = await connect()
        bodies = [b"%010d" % number for number in range(2000)]
        writer.write(b"".join(POST + body for body in bodies))
        async with asyncio.timeout(END_SECONDS):
            for body in bodies:
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 ")
                assert await reader.readexactly(10) == body

    run(scenario, Watched)
    assert len(waiting) == 2000
    assert max(waiting) < Watched.most_waiting + Watched.piece_bytes // len(POST)
