"""What a peer that speaks ``_bulk`` may answer, and how much is asked of it at once."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from cenote.host import search_delivery
from cenote.host.delivery import DeliveryError
from cenote.host.outbound import OutboundPolicy
from cenote.host.search_delivery import SearchDestination
from cenote.logs import sinks
from cenote.logs.destinations import parse_network
from cenote.logs.messages import Message
from cenote.logs.place import Place
from cenote.model.records import LogSource, SinkType
from tests.support.search import search

LOOPBACK = (parse_network("127.0.0.1"),)
MESSAGES = [Message(LogSource.POSTGRES, number, number + 1, f"LOG:  {number}") for number in range(5)]


def peer_of(url: str) -> SearchDestination:
    config = sinks.parse_config(SinkType.OPENSEARCH, {"url": url, "index_prefix": "logs"}, LOOPBACK)
    assert isinstance(config, sinks.SearchConfig)
    return SearchDestination(
        OutboundPolicy(LOOPBACK), config, Place(UUID(int=1), "backend", "node-1", "db-1")
    )


def test_what_is_more_than_a_call_may_have_is_sent_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_delivery, "MOST_AT_ONCE", 2)

    async def scenario(url: str) -> None:
        peer = peer_of(url)
        try:
            assert await peer.deliver(MESSAGES) == (0, "")
        finally:
            await peer.close()

    with search() as there:
        asyncio.run(scenario(there.url))
        assert sorted(there.texts()) == [message.text for message in MESSAGES]
        assert len(there.calls) > 2


def test_an_answer_without_end_in_small_pieces_is_not_read_to_its_end() -> None:
    """Each piece costs the same, however much has come before."""

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"100\r\n" + b" " * 256 + b"\r\n")
                await writer.drain()
        except ConnectionError:
            writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(endless, "127.0.0.1", 0)
        peer = peer_of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        try:
            with pytest.raises(DeliveryError, match="sends an answer that is too large"):
                await peer.deliver(MESSAGES)
        finally:
            await peer.close()
            server.close()
            await server.wait_closed()

    asyncio.run(scenario())


def test_an_answer_for_a_full_call_is_within_what_is_read() -> None:
    full = [Message(LogSource.POSTGRES, at, at + 1, "LOG:  x") for at in range(search_delivery.MOST_AT_ONCE)]

    async def scenario(url: str) -> None:
        peer = peer_of(url)
        try:
            assert await peer.deliver(full) == (len(full), "mapper_parsing_exception (status 400)")
        finally:
            await peer.close()

    with search() as there:
        there.troubles.append(lambda _: (400, "mapper_parsing_exception"))
        asyncio.run(scenario(there.url))
        assert len(there.calls) == 1
