"""How far a sink has got, where its log loses its beginning and its peer ends."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from cenote.agent.log_shipping import SinkTask
from cenote.host.executor import Executor
from cenote.host.outbound import OutboundPolicy
from cenote.host.processes import Account
from cenote.host.syslog_delivery import SyslogDestination
from cenote.logs import positions, sinks
from cenote.logs.destinations import parse_network
from cenote.logs.positions import LogPosition, Positions
from cenote.model.paths import FIRST_NODE, Layout
from cenote.model.records import LogSink, LogSource, SinkType
from tests.support.api import Api, Apis

HOLE = 2**20  # bytes
LOOPBACK = (parse_network("127.0.0.1"),)


class Peer:
    """A syslog server that reads all, and tells nobody what of it is safe."""

    def __init__(self) -> None:
        self.got = b""
        self._writers: list[asyncio.StreamWriter] = []

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        while piece := await reader.read(2**16):
            self.got += piece

    def drop(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


def say(log: Path, *texts: str) -> None:
    with log.open("a") as file:
        file.write("".join(f"2026-11-22 17:47:54.123 UTC [41] LOG:  {text}\n" for text in texts))


def cut(log: Path, length: int) -> None:
    """Make a hole of the beginning of a log."""
    command = ["fallocate", "--punch-hole", "--offset", "0", "--length", str(length)]
    subprocess.run([*command, log], check=True)


def test_what_was_not_sure_yet_when_something_was_lost_is_not_taken_for_delivered(
    apis: Apis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SyslogDestination, "confirmation_delay", 3600)  # nothing is sure

    async def scenario(api: Api) -> None:
        stored = api.store.cluster(UUID((await api.add_cluster()).rpartition("/")[2]))
        assert stored is not None
        peer = Peer()
        server = await asyncio.start_server(peer.accept, "127.0.0.1", 0)
        given = {
            "server": "127.0.0.1",
            "port": server.sockets[0].getsockname()[1],
            "tls": False,
            "format": "rfc5424",
        }
        config = sinks.encode(sinks.parse_config(SinkType.RSYSLOG, given, LOOPBACK))
        sink = LogSink(
            id=uuid4(), name="logs", type=SinkType.RSYSLOG, sealed_config=api.rings.host.seal(config)
        )
        executor = Executor(Layout(tmp_path), Account("nobody"), {}, api.hosts["here"].request_certificate)
        paths = executor.layout.node(stored.value.id, FIRST_NODE)
        paths.cluster.root.mkdir(parents=True)
        log = paths.log(LogSource.POSTGRES)
        paths.sink(sink.id).write_bytes(
            positions.encode(Positions(places={LogSource.POSTGRES: LogPosition()}))
        )
        policy = OutboundPolicy(LOOPBACK)
        task = SinkTask(
            api.hosts["here"],
            executor,
            api.rings.host,
            policy,
            policy.timing,
            stored.value,
            sink,
            None,
            "db-1",
        )
        try:
            say(log, *("x" * 100 for _ in range(50)))
            await until(lambda: peer.got.count(b"x" * 100) == 50)
            # What comes next is cut out before it is read, and what has come, too.
            lost = log.stat().st_size + HOLE
            with log.open("ab") as grown:
                grown.truncate(lost)
            say(log, *("y" * 1000 for _ in range(10)), "the last")
            cut(log, lost)
            await until(lambda: b"the last" in peer.got)
            assert task.numbers().lost_bytes == 0
            assert positions.decode(paths.sink(sink.id).read_bytes()).at(LogSource.POSTGRES) == LogPosition()
            peer.got = b""
            peer.drop()
            await until(lambda: b"the last" in peer.got)
            # The hole, and the first line after it, which may have lost its beginning.
            assert lost < task.numbers().lost_bytes < lost + 2000
        finally:
            task.end()
            await task.ended()
            peer.drop()
            server.close()
            await server.wait_closed()

    apis.run(scenario)


def test_the_log_of_a_pooler_that_another_node_takes_over_goes_on_where_it_was(
    apis: Apis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SyslogDestination, "confirmation_delay", 0)

    async def scenario(api: Api) -> None:
        stored = api.store.cluster(UUID((await api.add_cluster()).rpartition("/")[2]))
        assert stored is not None
        peer = Peer()
        server = await asyncio.start_server(peer.accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        given = {"server": "127.0.0.1", "port": port, "tls": False, "format": "rfc5424"}
        config = sinks.encode(sinks.parse_config(SinkType.RSYSLOG, given, LOOPBACK))
        sealed = api.rings.host.seal(config)
        sink = LogSink(id=uuid4(), name="logs", type=SinkType.RSYSLOG, sealed_config=sealed)
        executor = Executor(Layout(tmp_path), Account("nobody"), {}, api.hosts["here"].request_certificate)
        for name in (FIRST_NODE, "node-2"):
            paths = executor.layout.node(stored.value.id, name)
            paths.cluster.root.mkdir(parents=True, exist_ok=True)
            paths.sink(sink.id).write_bytes(positions.encode(Positions(places={})))
        pooler = paths.log(LogSource.PGBOUNCER)
        policy = OutboundPolicy(LOOPBACK)
        shared = (api.hosts["here"], executor, api.rings.host, policy, policy.timing, stored.value, sink)
        first = SinkTask(*shared, None, "db-1")
        only_server = SinkTask(*shared, None, "db-1", "node-2", (LogSource.POSTGRES,))
        later: SinkTask | None = None
        try:
            say(pooler, "the first line")
            say(paths.log(LogSource.POSTGRES), "of the standby")
            await until(lambda: b"the first line" in peer.got and b"of the standby" in peer.got)
            await until(lambda: first.position(LogSource.PGBOUNCER).at == pooler.stat().st_size)
            assert peer.got.count(b"the first line") == 1, "the other node sends its server's log alone"
            first.end()
            only_server.end()
            later = SinkTask(*shared, only_server, "db-1", "node-2", tuple(LogSource), first)
            say(pooler, "the second line")
            await until(lambda: b"the second line" in peer.got)
            assert peer.got.count(b"the first line") == 1
            assert b'node="node-2"' in peer.got[peer.got.index(b"the second line") - 200 :]
        finally:
            for task in filter(None, (first, only_server, later)):
                task.end()
                await task.ended()
            peer.drop()
            server.close()
            await server.wait_closed()

    apis.run(scenario)
