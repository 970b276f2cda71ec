"""Server processes: whom a pid file is believed for, what is told of an end, what is ended."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cenote.errors import CenoteError
from cenote.host import processes, stopping, system
from cenote.host.processes import Account
from cenote.model.changes import Program
from cenote.model.processes import Process
from cenote.model.timing import Timing
from tests.support.ports import free_range
from tests.support.waiting import wait_until, wait_until_async

OURSELVES = Account("ourselves")
SLEEP = "import time; time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(600)"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder to work in; whoever works there is ended with the test."""
    yield tmp_path
    for process in processes.below(tmp_path):
        os.kill(process.pid, signal.SIGKILL)
    wait_until("all of them have ended", 10, lambda: not processes.below(tmp_path))
    processes.reap()


def program(folder: Path, code: str = SLEEP) -> Program:
    work = folder / "work"
    work.mkdir(exist_ok=True)
    return Program(
        name="Sleeper",
        argv=(sys.executable, "-u", "-c", code),
        directory=work,
        pid_file=work / "pid",
        log=folder / "log",
        stamp=folder / "stamp",
        stop_signal=signal.SIGTERM,
    )


def started(what: Program) -> Process:
    found = processes.start(what, OURSELVES)
    assert found is not None
    return found


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await scenario()

    asyncio.run(whole())


def test_a_program_is_started_in_a_session_of_its_own_with_its_log_and_little_else(folder: Path) -> None:
    what = program(folder, "import os; print(os.getsid(0), sorted(os.environ), os.getcwd()); " + SLEEP)
    process = started(what)
    wait_until("it has said something", 10, lambda: what.log.read_text().endswith("\n"))
    assert what.log.read_text() == f"{process.pid} ['LC_ALL', 'PATH', 'TZ'] {what.directory}\n"
    assert what.log.stat().st_mode & 0o077 == 0
    assert os.getsid(0) != process.pid


def test_a_program_that_cannot_run_is_an_error(folder: Path) -> None:
    what = program(folder)
    with pytest.raises(OSError, match="No such file"):
        processes.start(replace(what, argv=("/nowhere/at-all",)), OURSELVES)


@pytest.mark.parametrize("which", ["pid_file", "stamp"])
def test_a_process_is_found_by_its_pid_file_or_by_our_stamp(folder: Path, which: str) -> None:
    what = program(folder)
    process = started(what)
    assert processes.find(what) is None
    path: Path = getattr(what, which)
    path.write_text(f"{process.pid}\nmore\n")
    assert processes.find(what) == process


def test_a_pid_file_is_not_believed_for_a_process_that_works_elsewhere(folder: Path) -> None:
    what = program(folder)
    what.pid_file.write_text(f"{os.getpid()}\n")
    assert processes.find(what) is None
    assert processes.stale_lock_files([what.pid_file, what.stamp]) == (what.pid_file,)


@pytest.mark.parametrize(
    "content",
    ["", "no number\n", "-1\n", "0\n", "99999999999\n", "\x00\n", pytest.param("9" * 5000, id="endless")],
)
def test_a_pid_file_with_anything_else_in_it_names_nobody(folder: Path, content: str) -> None:
    what = program(folder)
    what.pid_file.write_text(content)
    assert processes.find(what) is None
    assert processes.stale_lock_files([what.pid_file]) == (what.pid_file,)


def test_a_process_that_has_ended_is_not_found_also_while_it_is_a_zombie(folder: Path) -> None:
    what = program(folder)
    process = started(what)
    what.pid_file.write_text(str(process.pid))
    os.kill(process.pid, signal.SIGKILL)
    wait_until("it is seen to have ended", 10, lambda: processes.identify(process.pid) is None)
    assert processes.find(what) is None
    # The kernel still knows the pid, so a server would take the file for a living double's.
    assert processes.stale_lock_files([what.pid_file]) == (what.pid_file,)
    processes.reap()
    assert not Path(f"/proc/{process.pid}").exists()
    assert processes.stale_lock_files([what.pid_file]) == ()


def test_what_waits_for_a_child_of_its_own_is_not_robbed_of_it(folder: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"]) as child:
        wait_until("it has ended", 10, lambda: processes.identify(child.pid) is None)
        processes.reap()
        assert child.wait() == 7


def test_below_finds_by_folder_and_by_program(folder: Path) -> None:
    process = started(program(folder))
    name = os.path.basename(os.path.realpath(sys.executable))
    assert processes.below(folder) == [process]
    assert processes.below(folder / "work", name) == [process]
    assert processes.below(folder, "another") == []
    assert processes.below(folder / "wor") == []


def test_an_end_is_told_of_once_whoever_the_parent_is(folder: Path) -> None:
    code = f"""if True:
        import subprocess, sys
        quiet = {{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}}
        print(subprocess.Popen([sys.executable, "-c", {SLEEP!r}], **quiet).pid)
    """
    stranger = processes.identify(int(subprocess.check_output([sys.executable, "-c", code], cwd=folder)))
    assert stranger is not None
    ends = []

    async def scenario() -> None:
        watch = processes.ProcessWatch()
        for _ in range(2):
            watch.add(stranger, lambda: ends.append("ended"))
        await asyncio.sleep(0)
        assert ends == []
        os.kill(stranger.pid, signal.SIGKILL)
        await wait_until_async("the end is told", 10, lambda: ends)
        watch.add(stranger, lambda: ends.append("had ended"))
        watch.close()

    run(scenario)
    assert ends == ["ended", "had ended"]


def test_a_pid_that_went_to_another_process_counts_as_an_end(folder: Path) -> None:
    process = started(program(folder))
    earlier = Process(process.pid, process.started - 1)
    ends = []

    async def scenario() -> None:
        watch = processes.ProcessWatch()
        watch.add(earlier, lambda: ends.append("ended"))
        watch.close()

    run(scenario)
    assert ends == ["ended"]


def test_a_process_that_does_not_listen_to_reason_is_killed(folder: Path) -> None:
    what = program(folder, STUBBORN)
    process = started(what)
    wait_until("it ignores the signal", 10, lambda: what.log.read_text() == "up\n")
    run(lambda: stopping.stop(process, signal.SIGTERM, 0.2))
    assert processes.identify(process.pid) is None


def test_to_stop_what_has_ended_is_no_error(folder: Path) -> None:
    process = started(program(folder))
    for _ in range(2):
        run(lambda: stopping.stop(process, signal.SIGTERM, 10))
    assert processes.identify(process.pid) is None


def test_what_cannot_be_ended_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = started(program(folder))
    # A process in the middle of a disk's answer cannot be made here; one that no signal reaches can.
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda descriptor, how: None)
    with pytest.raises(CenoteError, match="does not end"):
        run(lambda: stopping.stop(process, signal.SIGKILL, 0, Timing(kill_timeout=0.1)))
    monkeypatch.undo()


def test_ports_are_told_by_who_listens_on_them() -> None:
    port = free_range(2)
    with socket.create_server(("127.0.0.1", port)):
        assert port in system.listening_ports()
        assert port in system.listening_sockets(os.getpid())
        assert system.is_port_taken(["127.0.0.1"], port)
        assert system.is_port_taken(["0.0.0.0"], port)
        assert not system.is_port_taken(["127.0.0.2"], port)
        assert not system.is_port_taken(["::1"], port)
        assert not system.is_port_taken(["127.0.0.1"], port + 1)
    assert not system.is_port_taken(["127.0.0.1"], port)
    assert port not in system.listening_sockets(os.getpid())


@pytest.mark.parametrize(
    ("listens_on", "taken", "free"),
    [
        ("0.0.0.0", ["127.0.0.1", "0.0.0.0", "192.0.2.1"], ["::1", "::"]),
        ("::1", ["::1", "::"], ["127.0.0.1", "0.0.0.0"]),
        ("::", ["::1", "::", "127.0.0.1", "0.0.0.0"], []),
    ],
)
def test_a_port_is_taken_by_what_would_keep_a_server_from_binding_it(
    listens_on: str, taken: list[str], free: list[str]
) -> None:
    port = free_range(2)
    family = socket.AF_INET6 if ":" in listens_on else socket.AF_INET
    with socket.create_server((listens_on, port), family=family, dualstack_ipv6=listens_on == "::"):
        assert [address for address in (*taken, *free) if system.is_port_taken([address], port)] == taken


def test_a_port_is_taken_by_an_ipv4_address_on_a_socket_for_both_protocols() -> None:
    port = free_range(2)
    with socket.create_server(("::ffff:127.0.0.1", port), family=socket.AF_INET6, dualstack_ipv6=True):
        assert system.is_port_taken(["127.0.0.1"], port)
        assert system.is_port_taken(["0.0.0.0"], port)
        assert not system.is_port_taken(["127.0.0.2"], port)


def test_a_unix_socket_has_a_listener_while_a_process_listens(tmp_path: Path) -> None:
    path = tmp_path / "a socket"
    assert not system.has_listener(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert not system.has_listener(path)
        listener.listen(0)
        assert system.has_listener(path)
    assert not system.has_listener(path)
