"""An agent that answers on its socket, and those who ask it from another process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import stat
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from uuid import UUID, uuid4

import httpcore
import msgspec
import psycopg
import pytest

from cenote.agent import observer_endpoint
from cenote.agent.observer_endpoint import Answering, ObserverEndpoint
from cenote.api import Settings
from cenote.errors import Unavailable
from cenote.host.observer import HostObserver
from cenote.model.paths import Layout
from cenote.model.records import Cluster, LogSink, LogSource, Pool, SinkType
from cenote.model.topology import writer_or_first
from cenote.security.sealing import Sealer
from cenote.stats.counters import PassResult
from cenote.stats.history import DAY_MINUTES, ClusterHistory
from cenote.stats.observer import PoolNumbers, Refusal
from cenote.stats.remote_observer import NO_ANSWER, NOT_UNDERSTOOD, RemoteObserver
from tests.support import records
from tests.support.api import POOL, Api, Apis
from tests.support.folders import server_folder
from tests.support.lab import Lab, Share
from tests.support.living import Living
from tests.support.observer_process import STATUS, ObserverProcess, observer_process
from tests.support.waiting import wait_until_async

WEB = Pool(name="web", database="defaultdb", size=3)
SINK = LogSink(id=uuid4(), name="away", type=SinkType.RSYSLOG, sealed_config="")


@contextlib.asynccontextmanager
async def asking(process: ObserverProcess | Path) -> AsyncIterator[RemoteObserver]:
    observer = RemoteObserver(process if isinstance(process, Path) else process.socket)
    try:
        yield observer
    finally:
        await observer.close()


async def all_of(stream: AsyncIterator[object]) -> None:
    async for _ in stream:
        pass


@pytest.fixture
def bare(tmp_path: Path) -> Cluster:
    """A cluster none of whose servers run."""
    cluster = records.cluster(Sealer(tmp_path / "key"), port=25060, version="16")
    return msgspec.structs.replace(cluster, pools=(WEB,))


@pytest.fixture
def process(bare: Cluster) -> Iterator[ObserverProcess]:
    with server_folder() as folder, observer_process(folder, bare) as started:
        yield started


def test_each_question_about_a_real_cluster_is_answered_from_another_process(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = msgspec.structs.replace(lab.new_cluster(), pools=(WEB,))
        await lab.converge(cluster)
        cluster = msgspec.structs.replace(cluster, sinks=(SINK,))
        with observer_process(lab.folder, cluster) as process:
            async with asking(process) as observer:
                use(cluster)
                await check_answers(observer, cluster)
                await check_samples(observer, cluster)

    labs(scenario)


def use(cluster: Cluster) -> None:
    with psycopg.connect(
        host="127.0.0.1",
        port=writer_or_first(cluster).pool_port,
        dbname="web",
        user="doadmin",
        password=records.PASSWORD,
        sslmode="require",
    ) as connection:
        connection.execute("SELECT 1")


async def check_answers(observer: RemoteObserver, cluster: Cluster) -> None:
    id, node = cluster.id, writer_or_first(cluster).name
    pools = await observer.pools(id, node)
    assert isinstance(pools["web"], PoolNumbers)
    assert pools["web"].transactions == 1
    assert await observer.outdated_connections(id, node) == {}
    server = await observer.server(id, node)
    assert [one.name for one in server.databases] == ["defaultdb"]
    assert server.connections_allowed > 0
    first = await observer.logs(id, node, LogSource.POSTGRES, 10, "")
    assert any("ready to accept connections" in message.text for message in first.messages)
    last = first.messages[-1]
    assert last.at is not None
    assert abs(last.at - datetime.now(UTC)).total_seconds() < 600
    rest = await observer.logs(id, node, LogSource.POSTGRES, 10, first.cursor)
    assert last not in rest.messages
    assert await observer.sinks(id, node) == {SINK.id: STATUS}
    assert await observer.is_own(id, node, ip_address("127.0.0.1"))
    assert not await observer.is_own(id, node, ip_address("198.51.100.7"))
    agent = await observer.agent()
    assert agent.passes.outcomes == dict.fromkeys(PassResult, 0)
    assert agent.process.resident_bytes > 2**20


async def check_samples(observer: RemoteObserver, cluster: Cluster) -> None:
    id, node, seen = cluster.id, writer_or_first(cluster).name, list[float]()
    async with contextlib.aclosing(observer.samples(id, node, 0)) as following:
        async for found in following:
            assert found.problem == ""
            for sample in found.samples:
                assert sample.pools["web"]["size"] == 3
                assert sample.sessions is not None
                seen.append(sample.at)
            if len(seen) >= 3:
                break
    async with contextlib.aclosing(observer.samples(id, node, seen[0])) as following:
        again = (await anext(following)).samples
    assert [sample.at for sample in again][:2] == seen[1:3]
    tables = await observer.history(id, node, DAY_MINUTES)
    history = ClusterHistory.of(tables)
    assert set(seen) <= set(history.pools["web"].samples.at)
    assert len(history.machine.samples) >= 3
    assert abs(tables.now - time.time()) < 10


def test_what_a_host_cannot_tell_is_said_in_its_own_words(process: ObserverProcess, bare: Cluster) -> None:
    async def scenario() -> None:
        async with asking(process) as observer:
            with pytest.raises(Unavailable, match="The pooler of this cluster does not answer"):
                await observer.pools(bare.id, "node-1")
            with pytest.raises(Unavailable, match="The server of this cluster does not answer"):
                await observer.server(bare.id, "node-1")
            for id, node in ((uuid4(), "node-1"), (bare.id, "n2")):
                with pytest.raises(Unavailable, match="not on the host"):
                    await observer.logs(id, node, LogSource.POSTGRES, 10, "")
                with pytest.raises(Unavailable, match="not on the host"):
                    await anext(observer.samples(id, node, 0))
            async with contextlib.aclosing(observer.samples(bare.id, "node-1", 0)) as following:
                async for found in following:
                    if "The pooler of this cluster does not answer" in found.problem:
                        break

    asyncio.run(scenario())


def test_a_killed_agent_is_told_of_within_a_limit_and_found_again(
    process: ObserverProcess, bare: Cluster
) -> None:
    async def scenario() -> None:
        async with asking(process) as observer:
            following = observer.samples(bare.id, "node-1", 0)
            await anext(following)
            await observer.agent()
            process.kill()
            begin = time.monotonic()
            with pytest.raises(Unavailable, match=NO_ANSWER):
                await observer.sinks(bare.id, "node-1")
            with pytest.raises(Unavailable, match=NO_ANSWER):
                await all_of(following)
            assert time.monotonic() - begin < 3
            await asyncio.to_thread(process.start)
            assert await observer.sinks(bare.id, "node-1") == {}

    asyncio.run(scenario())


def test_an_agent_that_is_being_restarted_is_waited_for(bare: Cluster) -> None:
    async def scenario(folder: Path) -> None:
        observed = HostObserver(Layout(folder), Living(bare), "here")
        path = Layout(folder).agent_socket
        async with asking(path) as observer:
            for _ in range(2):
                waiting = asyncio.create_task(observer.sinks(bare.id, "node-1"))
                await asyncio.sleep(0.3)
                serving = asyncio.create_task(ObserverEndpoint(Answering(observed), path).run())
                try:
                    assert await waiting == {}
                finally:
                    serving.cancel()
                    await asyncio.gather(serving, return_exceptions=True)

    with server_folder() as folder:
        asyncio.run(scenario(folder))


def test_an_agent_that_hangs_delays_no_other_answer(
    apis: Apis, process: ObserverProcess, bare: Cluster
) -> None:
    async def scenario(api: Api) -> None:
        path = await api.add_cluster()
        await api.call("POST", f"{path}/pools", 201, json=POOL)
        process.send(signal.SIGSTOP)
        begin = time.monotonic()
        refusals = [
            asyncio.create_task(api.refusal("GET", f"{path}/{question}", 503))
            for question in ("pool_stats", "pool_history", "pool_advice") * 50
        ]
        await asyncio.sleep(0.1)
        slowest = 0.0
        while not all(task.done() for task in refusals):
            asked = time.monotonic()
            await api.call("GET", path, 200)
            slowest = max(slowest, time.monotonic() - asked)
            await asyncio.sleep(0.01)
        assert set(await asyncio.gather(*refusals)) == {NO_ANSWER}
        assert time.monotonic() - begin < 6
        assert slowest < 1
        process.send(signal.SIGCONT)

        async def answers() -> bool:
            with contextlib.suppress(Unavailable):
                await observer.agent()
                return True
            return False

        await wait_until_async("it answers again", 10, answers)

    async def and_close(api: Api) -> None:
        try:
            await scenario(api)
        finally:
            process.send(signal.SIGCONT)
            await observer.close()

    observer = RemoteObserver(process.socket)
    without_limits = Settings(wait_seconds=0, requests_per_hour=0, requests_per_minute=0)
    apis.run(and_close, without_limits, observer=observer)


def test_a_stream_of_an_agent_that_hangs_is_given_up(
    process: ObserverProcess, bare: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cenote.stats.remote_observer.SILENT_SECONDS", 0.5)

    async def scenario() -> None:
        async with asking(process) as observer:
            following = observer.samples(bare.id, "node-1", 0)
            await anext(following)
            process.send(signal.SIGSTOP)
            with pytest.raises(Unavailable, match=NO_ANSWER):
                await all_of(following)
            process.send(signal.SIGCONT)

    asyncio.run(scenario())


def test_streams_end_at_once_and_without_an_error_when_the_asking_process_ends(
    process: ObserverProcess, bare: Cluster
) -> None:
    async def scenario() -> None:
        async with asking(process) as observer:
            following = [observer.samples(bare.id, "node-1", 0) for _ in range(5)]
            for one in following:
                await anext(one)
            process.send(signal.SIGSTOP)  # nothing comes that could wake them
            ends = [asyncio.create_task(all_of(one)) for one in following]
            await asyncio.sleep(0.3)
            begin = time.monotonic()
            observer.end_streams()
            await asyncio.gather(*ends)
            assert time.monotonic() - begin < 2.5  # before anything else would end them
            process.send(signal.SIGCONT)

    asyncio.run(scenario())


# -- The socket


def serving(scenario: Callable[[HostObserver, Path], Awaitable[None]], cluster: Cluster) -> None:
    """Run a test beside an endpoint in this process."""

    async def whole(folder: Path) -> None:
        observed, path = HostObserver(Layout(folder), Living(cluster), "here"), Layout(folder).agent_socket
        task = asyncio.create_task(ObserverEndpoint(Answering(observed), path, os.getgid()).run())
        try:
            await wait_until_async("it listens", 10, path.exists)
            await scenario(observed, path)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    with server_folder() as folder:
        asyncio.run(whole(folder))


def test_nobody_but_the_group_gets_to_the_socket(bare: Cluster) -> None:
    async def scenario(_: HostObserver, path: Path) -> None:
        at, folder = os.stat(path), os.stat(path.parent)
        assert (stat.S_IMODE(at.st_mode), stat.S_IMODE(folder.st_mode)) == (0o660, 0o750)
        assert at.st_gid == folder.st_gid == os.getgid()
        assert os.listdir(path.parent) == [path.name]

    serving(scenario, bare)


def test_who_leaves_ends_the_watching(bare: Cluster) -> None:
    async def scenario(observed: HostObserver, path: Path) -> None:
        async with asking(path) as observer:
            following = observer.samples(bare.id, "node-1", 0)
            await anext(following)
            assert observed.sampler._watches
            await following.aclose()
            await wait_until_async("nobody watches", 10, lambda: not observed.sampler._watches)

    serving(scenario, bare)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0" * 4096,
        b"\xff\xfe\n\n" * 100,
        b"GET " + b"/" * 70_000,
        b"GET /agent HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the beginning of TLS
        b"POST /agent HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999\r\n\r\n" + b"x" * 10_000,
    ],
)
def test_garbage_on_the_socket_disturbs_nobody(bare: Cluster, garbage: bytes) -> None:
    async def scenario(_: HostObserver, path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as stranger, contextlib.suppress(OSError):
            stranger.setblocking(False)
            await asyncio.get_running_loop().sock_connect(stranger, str(path))
            await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(stranger, garbage), 5)
            async with asking(path) as observer:
                assert await observer.sinks(bare.id, "node-1") == {}
        async with asking(path) as observer:
            assert await observer.sinks(bare.id, "node-1") == {}

    serving(scenario, bare)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 404),
        ("/nodes", 404),
        ("/nodes/x/n1/pools", 422),
        ("/nodes/{id}/%00/pools", 422),
        ("/nodes/{id}/" + "n" * 500 + "/pools", 422),
        ("/nodes/{id}/..%2F..%2Fetc/pools", 404),
        ("/nodes/{id}/n1/logs", 422),
        ("/nodes/{id}/n1/logs?source=passwd&count=1", 422),
        ("/nodes/{id}/n1/logs?source=postgresql&count=1001", 422),
        ("/nodes/{id}/n1/logs?source=postgresql&count=-1", 422),
        ("/nodes/{id}/n1/history?minutes=1e9", 422),
        ("/nodes/{id}/n1/history?minutes=%C2%B2", 422),
        ("/nodes/{id}/n1/samples?after=nan", 422),
        ("/nodes/{id}/n1/samples?after=1e999", 422),
        ("/nodes/{id}/n1/is_own?address=localhost", 422),
        ("/nodes/{id}/n1/everything", 404),
    ],
)
def test_questions_that_make_no_sense_are_refused_in_words(bare: Cluster, path: str, status: int) -> None:
    path = path.replace("{id}", str(bare.id))

    async def scenario(_: HostObserver, at: Path) -> None:
        async with httpcore.AsyncConnectionPool(uds=str(at)) as connections:
            answer = await connections.request("GET", f"http://agent{path}")
            assert answer.status == status
            assert msgspec.msgpack.decode(answer.content, type=Refusal).message

    serving(scenario, bare)


def test_a_defect_is_no_answer_and_shows_nothing_of_itself(
    bare: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(observed: HostObserver, path: Path) -> None:
        def broken(_: UUID, node: str) -> None:
            raise KeyError("a secret detail")

        observed._sinks = broken  # type: ignore[assignment]
        async with asking(path) as observer:
            with pytest.raises(Unavailable) as refused:
                await observer.sinks(bare.id, "node-1")
        assert "defect" in refused.value.message
        assert "secret" not in refused.value.message

    serving(scenario, bare)
    assert "a secret detail" in caplog.text


def test_an_answer_that_takes_too_long_is_given_up_on_both_sides(
    bare: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observer_endpoint, "ANSWER_SECONDS", 0.3)

    async def scenario(observed: HostObserver, path: Path) -> None:
        async def slow(*_: object) -> None:
            await asyncio.Event().wait()

        observed.sinks = slow  # type: ignore[assignment, method-assign]
        async with asking(path) as observer:
            with pytest.raises(Unavailable, match="did not answer in time"):
                await observer.sinks(bare.id, "node-1")

    serving(scenario, bare)


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage" * 100,
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
        b"HTTP/1.1 503 No\r\ncontent-length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + struct.pack(">I", 2**31),
        b"",
    ],
)
def test_an_agent_that_answers_nonsense_is_no_defect_of_the_asking_process(
    tmp_path: Path, answer: bytes
) -> None:
    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async def scenario(folder: Path) -> None:
        server = await asyncio.start_unix_server(answering, folder / "sock")
        try:
            async with asking(folder / "sock") as observer:
                with pytest.raises(Unavailable, match=f"{NO_ANSWER}|{NOT_UNDERSTOOD}"):
                    await observer.agent()
                with pytest.raises(Unavailable, match=f"{NO_ANSWER}|{NOT_UNDERSTOOD}"):
                    await anext(observer.samples(uuid4(), "node-1", 0))
        finally:
            server.close()

    with server_folder() as folder:
        asyncio.run(scenario(folder))
