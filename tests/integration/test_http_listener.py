"""Connections of the API that nobody has logged in on: deadlines, caps, and memory that is given back."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

import pytest

from cenote.http import listener, memory, tls_context
from cenote.http import server as http_server
from cenote.http.admission import Admission
from cenote.http.routing import Receive, Scope, Send
from cenote.http.server import Server
from cenote.security import certificates
from tests.support.waiting import wait_until_async

GET = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n"
END_SECONDS = 30


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Running:
    def __init__(self, server: Server, port: int, trusting: ssl.SSLContext) -> None:
        self.server, self.port, self.trusting = server, port, trusting

    async def silent(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def greeted(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=self.trusting)

    async def answer(self) -> bytes:
        reader, writer = await self.greeted()
        writer.write(GET)
        answer = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        return answer

    def open(self) -> int:
        return self.server.admission.total


@contextlib.asynccontextmanager
async def serving(most: int) -> AsyncIterator[Running]:
    authority, key = certificates.new_authority("here")
    context = tls_context.server_context(certificates.issue(authority, key, ["localhost", "127.0.0.1"]))
    trusting = ssl.create_default_context(cadata=authority)
    listening = http_server.listen("127.0.0.1", 0)
    server = http_server.server(app, context, admission=Admission(most, 0))
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        await wait_until_async("the server is up", END_SECONDS, lambda: server.started)
        yield Running(server, listening.getsockname()[1], trusting)
    finally:
        server.should_exit = True
        await task


def test_silent_connections_end_at_the_deadline_and_others_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener, "HANDSHAKE_SECONDS", 0.5)

    async def scenario() -> None:
        async with serving(100) as running:
            silent = [await running.silent() for _ in range(20)]
            greeted = [await running.greeted() for _ in range(5)]
            async with asyncio.timeout(END_SECONDS):
                for reader, writer in silent:
                    with contextlib.suppress(ConnectionError):
                        assert await reader.read() == b""
                    writer.close()
                for reader, writer in greeted:
                    assert b"408" in await reader.read()
                    writer.close()
            await wait_until_async("all are forgotten", END_SECONDS, lambda: running.open() == 0)
            assert (await running.answer()).startswith(b"HTTP/1.1 204")

    asyncio.run(scenario())


def test_a_connection_that_is_too_many_is_closed_at_once_and_room_is_used_again() -> None:
    async def scenario() -> None:
        async with serving(16) as running:
            kept = [await running.silent() for _ in range(16)]
            await wait_until_async("all are counted", END_SECONDS, lambda: running.open() == 16)
            async with asyncio.timeout(END_SECONDS):
                for _ in range(50):
                    reader, writer = await running.silent()
                    with contextlib.suppress(ConnectionError):
                        assert await reader.read() == b""
                    writer.close()
            assert running.open() == 16
            for _, writer in kept:
                writer.close()
            await wait_until_async("there is room", END_SECONDS, lambda: running.open() == 0)
            assert (await running.answer()).startswith(b"HTTP/1.1 204")
            await wait_until_async("it is closed", END_SECONDS, lambda: running.open() == 0)

    asyncio.run(scenario())


def test_the_memory_of_a_peak_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "PAUSE_SECONDS", 0.1)
    done: list[int] = []
    trim = memory._trim
    assert trim is not None  # the tests run with glibc

    def counted(keep: int) -> int:
        done.append(trim(keep))
        return done[-1]

    monkeypatch.setattr(memory, "_trim", counted)

    async def scenario() -> None:
        async with serving(1000) as running:
            for _ in range(2):
                kept = [await running.greeted() for _ in range(memory.WORTH_IT)]
                done.clear()
                for _, writer in kept:
                    writer.close()
                await wait_until_async("it is trimmed", END_SECONDS, lambda: bool(done))
            assert (await running.answer()).startswith(b"HTTP/1.1 204")

    asyncio.run(scenario())
