from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cenote.errors import Misconfigured
from cenote.host import system
from cenote.store import etcd_folder, etcd_options, process
from cenote.store.client import EtcdClient, EtcdError
from cenote.store.etcd_messages import TransactionRequest, put
from cenote.store.process import PrivateEtcd
from tests.support.etcd import back_after, bare_cluster, etcd_program, kill, opened_store, with_etcd
from tests.support.waiting import wait_until, wait_until_async


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="cenote-etcd-"))
    yield made
    shutil.rmtree(made)


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_it_listens_on_no_port_and_its_folder_lets_nobody_else_in() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        assert etcd.pid is not None
        assert system.listening_sockets(etcd.pid) == set()
        assert stat.S_IMODE(etcd.socket.parent.stat().st_mode) == 0o700
        assert stat.S_ISSOCK(etcd.socket.stat().st_mode)

    with_etcd(scenario)


def test_settings_in_the_environment_do_not_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCD_LISTEN_METRICS_URLS", "http://127.0.0.1:0")

    async def scenario(etcd: PrivateEtcd) -> None:
        assert etcd.pid is not None
        assert system.listening_sockets(etcd.pid) == set()

    with_etcd(scenario)


def test_a_living_one_is_adopted() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        second = PrivateEtcd(etcd.socket.parent, etcd_program())
        await second.start()
        assert second.pid == etcd.pid

    with_etcd(scenario)


def test_two_that_start_at_once_share_one(folder: Path) -> None:
    async def scenario() -> None:
        both = [PrivateEtcd(folder / "etcd", etcd_program()) for _ in range(2)]
        try:
            await asyncio.gather(*(one.start() for one in both))
            assert both[0].pid is not None
            assert both[0].pid == both[1].pid
        finally:
            await both[0].stop()

    asyncio.run(scenario())


def test_one_whose_number_was_never_written_down_is_adopted() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        pid = etcd.pid
        (etcd.socket.parent / "etcd.pid").unlink()
        await etcd.start()
        assert etcd.pid == pid

    with_etcd(scenario)


def test_it_outlives_a_service_that_is_killed_and_the_next_one_watches_over_it(folder: Path) -> None:
    program = (
        "import asyncio, pathlib, sys, time; from cenote.store import PrivateEtcd\n"
        "etcd = PrivateEtcd(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))\n"
        "asyncio.run(etcd.start()); print('up', flush=True); time.sleep(600)"
    )
    service = subprocess.Popen(
        [sys.executable, "-c", program, str(folder / "etcd"), str(etcd_program())], stdout=subprocess.PIPE
    )
    etcd = PrivateEtcd(folder / "etcd", etcd_program())

    async def adopt_and_lose_it() -> None:
        pid = etcd.pid
        assert pid is not None
        await etcd.start()
        assert etcd.pid == pid
        watching = asyncio.create_task(etcd.watch())
        await asyncio.sleep(0)
        await back_after(kill(etcd), etcd)
        await etcd.stop()
        await watching

    try:
        assert service.stdout is not None
        assert service.stdout.readline() == b"up\n"
        service.send_signal(signal.SIGKILL)
        service.wait()
        service.stdout.close()
        asyncio.run(adopt_and_lose_it())
    finally:
        service.kill()
        asyncio.run(etcd.stop())


def test_killed_again_and_again_it_comes_back_with_its_records() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            cluster = bare_cluster("kept", 25060)
            await store.add_cluster(cluster)
        watching = asyncio.create_task(etcd.watch())
        for _ in range(3):
            await wait_until_async("etcd lives", 10, lambda: etcd.pid)
            await back_after(kill(etcd), etcd)
        async with opened_store(etcd) as store:
            assert [stored.value for stored in store.clusters()] == [cluster]
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    with_etcd(scenario)


def test_stopped_it_is_gone_and_is_not_started_again() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        watching = asyncio.create_task(etcd.watch())
        await asyncio.sleep(0)
        pid = etcd.pid
        assert pid is not None
        await etcd.stop()
        await asyncio.wait_for(watching, 10)
        assert etcd.pid is None
        assert is_gone(pid)

    with_etcd(scenario)


def test_what_keeps_it_from_starting_is_told_and_once_mended_it_starts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        watching = asyncio.create_task(etcd.watch())
        member = etcd.socket.parent / "data" / "member"
        member.rename(member.with_name("aside"))
        member.write_text("a file where a folder should be")
        kill(etcd)
        await wait_until_async("the reason is told", 20, lambda: "its last words" in caplog.text)
        assert not watching.done()
        member.unlink()
        member.with_name("aside").rename(member)
        await wait_until_async("etcd lives", 20, lambda: etcd.pid)
        async with opened_store(etcd) as store:
            await store.add_cluster(bare_cluster("a", 25060))
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    with_etcd(scenario)


def test_a_folder_that_refuses_us_for_a_while_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        watching = asyncio.create_task(etcd.watch())
        lock = etcd.socket.parent / "start.lock"
        lock.unlink()
        lock.mkdir()
        kill(etcd)
        await wait_until_async("the reason is told", 20, lambda: "Is a directory" in caplog.text)
        assert not watching.done()
        lock.rmdir()
        await wait_until_async("etcd lives", 20, lambda: etcd.pid)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    with_etcd(scenario)


def test_one_that_does_not_listen_to_sigterm_is_stopped_by_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "STOP_SECONDS", 0.2)

    async def scenario(etcd: PrivateEtcd) -> None:
        pid = etcd.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        await etcd.stop()
        assert is_gone(pid)

    with_etcd(scenario)


def test_a_process_that_got_the_number_later_is_not_taken_for_it(folder: Path) -> None:
    etcd = PrivateEtcd(folder, etcd_program())
    (folder / "etcd.pid").write_text(f"{os.getpid()}\n")
    assert etcd.pid is None
    asyncio.run(etcd.stop())


def test_a_program_that_is_missing_is_named(folder: Path) -> None:
    with pytest.raises(Misconfigured, match="/nowhere/etcd cannot be run: No such file"):
        asyncio.run(PrivateEtcd(folder / "etcd", Path("/nowhere/etcd")).start())


def test_why_it_does_not_start_is_told_in_its_own_words(folder: Path) -> None:
    (folder / "etcd" / "data").mkdir(parents=True)
    (folder / "etcd" / "data" / "member").write_text("a file where a folder should be")
    with pytest.raises(Misconfigured, match=r"(?s)last words:.*member"):
        asyncio.run(PrivateEtcd(folder / "etcd", etcd_program()).start())


def test_a_directory_with_a_very_long_path_will_do(folder: Path) -> None:
    async def scenario() -> None:
        etcd = PrivateEtcd(folder / ("long" * 20) / ("longer" * 20), etcd_program())
        await etcd.start()
        try:
            async with opened_store(etcd) as store:
                await store.add_cluster(bare_cluster("a", 25060))
        finally:
            await etcd.stop()

    asyncio.run(scenario())


async def is_taken(gateway: EtcdClient, write: TransactionRequest) -> bool:
    try:
        await gateway.transact(write)
    except EtcdError:
        return False
    return True


@pytest.mark.parametrize("restarted", [True, False])
def test_a_spent_quota_refuses_writes_and_is_mended_by_a_restart_or_by_itself(
    monkeypatch: pytest.MonkeyPatch, restarted: bool
) -> None:
    monkeypatch.setattr(etcd_options, "QUOTA_BYTES", 4 << 20)
    monkeypatch.setattr(process, "TIDY_SECONDS", 0.2)

    async def scenario(etcd: PrivateEtcd) -> None:
        gateway = EtcdClient(socket=etcd.socket)
        write = TransactionRequest([], [put("/other/key", bytes(1 << 20))], [])
        try:
            with contextlib.suppress(EtcdError):
                for _ in range(10):
                    await gateway.transact(write)
            with pytest.raises(EtcdError, match="the store has reached its limit of size"):
                await gateway.transact(write)
            if restarted:
                await etcd.stop()
                await etcd.start()
                await gateway.transact(write)
                return
            watching = asyncio.create_task(etcd.watch())
            await wait_until_async("a write is taken again", 30, lambda: is_taken(gateway, write))
            watching.cancel()
        finally:
            await gateway.close()

    with_etcd(scenario)


def test_the_log_is_put_aside_when_it_is_large(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_folder, "LOG_BYTES", 100)

    async def scenario(etcd: PrivateEtcd) -> None:
        log = etcd.socket.parent / "etcd.log"
        wait_until("something is logged", 5, lambda: log.stat().st_size > 100)
        await etcd.stop()
        await etcd.start()
        assert (etcd.socket.parent / "etcd.log.1").exists()

    with_etcd(scenario)
