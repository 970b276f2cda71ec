"""What lies between a migration and a source that says too much, or nothing that PostgreSQL would."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cenote.host import migration_programs, source_answers
from cenote.host.migration_programs import ProgramFailed
from cenote.host.migration_source import Source
from cenote.host.processes import Account
from cenote.host.source_answers import STRANGE_ANSWER, SourceProblem
from cenote.host.source_relay import LOOPBACK, Allowance, SourceRelay
from cenote.model.migrations import MigrationSource
from cenote.model.record import Secret

_MIB = 1024 * 1024
_Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def peer(answer: _Answer) -> AsyncIterator[int]:
    """A server on loopback, whose port this is."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, LOOPBACK, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(bytes(_MIB))
        await writer.drain()


def source_at(port: int) -> Source:
    named = MigrationSource(host=LOOPBACK, port=port, dbname="d", username="u", sealed_password="", tls=False)
    return Source(named, Secret("p"))


def test_both_ways_are_open_until_one_side_ends_it() -> None:
    async def run() -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.readline()).upper())
            await writer.drain()

        async with peer(echo) as port, SourceRelay(LOOPBACK, port, Allowance(_MIB), 5).serving() as relay:
            reader, writer = await asyncio.open_connection(LOOPBACK, relay.port)
            writer.write(b"hello\n")
            assert await reader.read() == b"HELLO\n"
            writer.close()
            assert relay.problem == ""

    asyncio.run(run())


def test_no_more_comes_than_is_allowed() -> None:
    async def run() -> None:
        async with (
            peer(flood) as port,
            SourceRelay(LOOPBACK, port, Allowance(3 * _MIB), 5).serving() as relay,
        ):
            reader, writer = await asyncio.open_connection(LOOPBACK, relay.port)
            received = 0
            try:
                while data := await reader.read(_MIB):
                    received += len(data)
            except ConnectionResetError:
                pass
            writer.close()
            assert received <= 3 * _MIB
            assert relay.problem == "the source answers with more than 3 MiB where names are asked for"

    asyncio.run(run())


async def startup(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ask for a password, and let anybody in."""
    length = int.from_bytes(await reader.readexactly(4), "big")
    await reader.readexactly(length - 4)
    writer.write(b"R" + (8).to_bytes(4, "big") + (3).to_bytes(4, "big"))
    kind = await reader.readexactly(5)
    await reader.readexactly(int.from_bytes(kind[1:], "big") - 4)
    writer.write(b"R" + (8).to_bytes(4, "big") + (0).to_bytes(4, "big"))


def test_a_source_that_never_ends_its_greeting_is_given_up() -> None:
    async def run() -> None:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await startup(reader, writer)
            number = 0
            while True:
                number += 1
                text = f"setting{number}\0".encode() + b"x" * 10_000 + b"\0"
                writer.write(b"S" + (4 + len(text)).to_bytes(4, "big") + text)
                await writer.drain()

        async with peer(greet) as port:
            with pytest.raises(SourceProblem, match="more than 32 MiB"):
                await source_at(port).look()

    asyncio.run(run())


def test_a_source_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_answers, "ANSWER_SECONDS", 0.2)

    async def run() -> None:
        async def be_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await startup(reader, writer)
            writer.write(b"Z" + (5).to_bytes(4, "big") + b"I")
            while await reader.read(10_000):
                pass

        async with peer(be_silent) as port:
            with pytest.raises(SourceProblem, match=r"has not answered for 0\.2 seconds"):
                await source_at(port).clean({"d": "ours"}, {})

    asyncio.run(run())


@pytest.mark.parametrize("text", [b"\xff", b"text"])
def test_a_source_that_answers_anything_with_something_else_is_told_in_words(text: bytes) -> None:
    async def run() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await startup(reader, writer)
            ready = b"Z" + (5).to_bytes(4, "big") + b"I"
            writer.write(ready)
            row = (1).to_bytes(2, "big") + len(text).to_bytes(4, "big") + text
            field = b"a\0" + bytes(6) + (25).to_bytes(4, "big") + bytes(8)
            described = (1).to_bytes(2, "big") + field
            while True:
                await reader.read(10_000)
                for kind, said in ((b"T", described), (b"D", row), (b"C", b"SELECT 1\0")):
                    writer.write(kind + (4 + len(said)).to_bytes(4, "big") + said)
                writer.write(ready)
                await writer.drain()

        async with peer(answer) as port:
            with pytest.raises(SourceProblem, match=STRANGE_ANSWER):
                await source_at(port).look()

    asyncio.run(run())


@pytest.mark.parametrize("host", ["x" * 64, "a..b"])
def test_a_name_that_no_resolver_takes_is_told_in_words(host: str) -> None:
    async def run() -> None:
        named = MigrationSource(host=host, port=5432, dbname="d", username="u", sealed_password="")
        with pytest.raises(SourceProblem, match="the source cannot be reached"):
            await Source(named, Secret("p")).look()

    asyncio.run(run())


def test_a_port_where_nobody_listens_is_told_in_words() -> None:
    async def run() -> None:
        async with peer(flood) as port:
            pass
        with pytest.raises(SourceProblem, match="the source cannot be reached: connection refused"):
            await source_at(port).look()

    asyncio.run(run())


def test_of_what_a_program_says_the_end_is_kept(tmp_path: Path) -> None:
    """pg_dump passes on each notice of a source."""

    async def run() -> None:
        lines = "[print('x' * 1000, file=sys.stderr) for _ in range(20000)]"
        script = f"import sys; {lines}; sys.exit('ERROR: the end')"
        with pytest.raises(ProgramFailed) as failed:
            await migration_programs.run([sys.executable, "-c", script], tmp_path, Account("self"), {})
        assert failed.value.message.endswith(": ERROR: the end")

    asyncio.run(run())


def test_of_what_a_program_prints_there_is_a_most(tmp_path: Path) -> None:
    async def run() -> None:
        script = "import sys; [sys.stdout.write('x' * 1048576) for _ in range(130)]"
        with pytest.raises(ProgramFailed, match="lists more than 128 MiB of definitions"):
            await migration_programs.run([sys.executable, "-c", script], tmp_path, Account("self"), {})
        output, errors = await migration_programs.run(["/bin/echo", "hello"], tmp_path, Account("self"), {})
        assert (output, errors) == ("hello\n", "")

    asyncio.run(run())
