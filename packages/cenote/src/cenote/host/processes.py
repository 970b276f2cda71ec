"""Server processes: started in sessions of their own, found by pid file, watched until they end.

They outlive this process on purpose.  A pid in a file proves nothing: it may have been reused, and the
servers' account can write anything there.  So a process must also work in the right directory, as its owner.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import resource
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cenote.errors import CenoteError
from cenote.host import files, oom, process_identity, safe_open
from cenote.model import environment
from cenote.model.changes import Program
from cenote.model.processes import Process

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_PID_DIGITS = 10  # no pid has more
MOST_DESCRIPTORS = 65_536  # PgBouncer admits up to 50,000 clients


@dataclass(frozen=True, slots=True)
class Account:
    """The system user that the servers run as; without ids, the user of this process."""

    name: str
    uid: int | None = None
    gid: int | None = None

    @property
    def owner(self) -> tuple[int, int] | None:
        return None if self.uid is None or self.gid is None else (self.uid, self.gid)

    @property
    def user_id(self) -> int:
        return os.geteuid() if self.uid is None else self.uid


def become_subreaper() -> None:
    """Have the kernel reparent orphans of our servers to this process.

    The children of a killed server would otherwise wait to be reaped by PID 1, which takes seconds in some
    containers, and a restart waits for them.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children(parent: int) -> list[int]:
    """Return the pids of a process's children, zombies included."""
    with contextlib.suppress(OSError):  # not every kernel lists them
        tasks = (Path(f"/proc/{parent}/task/{task}/children") for task in os.listdir(f"/proc/{parent}/task"))
        return [int(pid) for task in tasks for pid in task.read_text().split()]
    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return [pid for pid in pids if (fields := stat_fields(pid)) is not None and int(fields[1]) == parent]


def raise_descriptor_limit() -> None:
    """Raise the soft limit of open files to the hard one, up to a bound; servers that we start inherit it.

    The default is 1,024: fewer than the clients that PgBouncer admits, and few enough for idle connections
    to our API to use up.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def descriptor_limit() -> int:
    """Return how many files this process, and each that it starts, may have open."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def identify(pid: int) -> Process | None:
    """Return the process with this pid, or None if it has ended (or is a zombie)."""
    fields = stat_fields(pid)
    return None if fields is None or fields[0] in (b"Z", b"X") else Process(pid, int(fields[19]))


def is_stopped(process: Process) -> bool:
    """Return whether a process was stopped by a signal, or is traced, and does nothing."""
    fields = stat_fields(process.pid)
    return fields is not None and fields[0] in (b"T", b"t")


def find(program: Program) -> Process | None:
    """Return the process of this program, whoever started it.

    A server writes its pid file a moment after its start; until then our stamp has the pid, with the time
    of the start, since PostgreSQL works elsewhere for a moment while it begins.
    """
    found = directory_of(program)
    if found is None:
        return None
    directory, owner = found
    for path in (program.pid_file, program.stamp):
        words = (files.read(path) or b"").split(maxsplit=2)
        pid = _pid_of(words)
        process = None if pid is None else identify(pid)
        if process is None or not process_identity.runs_as(process.pid, owner):
            continue
        is_stamped = path == program.stamp and words[1:2] == [str(process.started).encode()]
        if is_stamped or process_identity.works_in(process.pid, directory):
            return process
    return None


def directory_of(program: Program) -> tuple[str, int] | None:
    """Return the working directory of a program, without links, and its owner; None if there is none."""
    try:
        with safe_open.folder(program.directory) as opened:
            return os.readlink(f"/proc/self/fd/{opened}"), os.fstat(opened).st_uid
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise


def is_outdated(process: Process, program: Program) -> bool:
    """Return whether the program's file was replaced after this process was started.

    The process still runs the old file.  A wrapper script is never the file that runs, so its time is
    compared, too.
    """
    try:
        running, installed = os.stat(f"/proc/{process.pid}/exe"), os.stat(program.argv[0])
    except OSError:
        return False
    same = (running.st_dev, running.st_ino) == (installed.st_dev, installed.st_ino)
    return not same and datetime.fromtimestamp(installed.st_ctime, UTC) > started_at(process)


def started_at(process: Process) -> datetime:
    """Return when a process was started."""
    stat = Path("/proc/stat").read_text()
    boot = int(stat[stat.index("btime ") :].split(maxsplit=2)[1])
    return datetime.fromtimestamp(boot + process.started / os.sysconf("SC_CLK_TCK"), UTC)


def below(directory: Path, executable: str | None = None) -> list[Process]:
    """Return every process whose working directory is this directory or below it, whoever runs it.

    With ``executable``, only those that run a program file of this name.
    """
    found, wanted = [], os.path.realpath(directory)
    for entry in os.listdir("/proc"):
        if entry.isdigit() and process_identity.works_in(int(entry), wanted, deeper=True):
            process = identify(int(entry))
            if process is not None and executable in (None, process_identity.executable_of(process.pid)):
                found.append(process)
    return found


def stale_lock_files(locks: Iterable[Path]) -> tuple[Path, ...]:
    """Return stale lock files: the program is down, and they have no pid, or one that was reused.

    Call it only where no process of the program works.  A server refuses to start beside such a file: the pid
    may be another instance's (a zombie has one, too), and a power failure leaves files without content.
    """
    return tuple(path for path in locks if _is_stale(path))


def _is_stale(path: Path) -> bool:
    pid = _pid_of((files.read(path) or b"").split(maxsplit=1))
    if pid is not None:
        return os.path.exists(f"/proc/{pid}")  # else the server removes it by itself
    return os.path.lexists(path)


def _pid_of(words: list[bytes]) -> int | None:
    """Return the pid that the first word of a file is; None for anything else, such as endless digits."""
    if not words or not words[0].isdigit() or len(words[0]) > _PID_DIGITS:
        return None
    return int(words[0]) or None


def start(program: Program, account: Account) -> Process | None:
    """Start a program in a session of its own and return it, or None if it has already ended."""
    log = safe_open.open_regular(program.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        if account.owner is not None:
            os.fchown(log, *account.owner)
        child = subprocess.Popen(
            program.argv,
            cwd=program.directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=oom.variables(program),
            start_new_session=True,
            umask=0o077,
            user=account.uid,
            group=account.gid,
            extra_groups=None if account.uid is None else [],
        )
    finally:
        os.close(log)
    oom.adjust(program, child.pid)
    # ``reap`` collects it; without a return code, Popen would warn that it still runs.
    child.returncode = 0
    return identify(child.pid)


def check_configuration(program: Program, account: Account) -> None:
    """Check PostgreSQL's configuration without starting it; CenoteError with the server's message."""
    done = _postgres(program, account)
    if done.returncode != 0:
        message = " / ".join(done.stderr.strip().splitlines()[-2:])
        raise CenoteError(f"{program.name} would not restart: {message}")


def refused_settings(program: Program, account: Account, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that PostgreSQL does not accept, whatever its file has; it is not started."""
    return {
        name: value
        for name, value in settings.items()
        if _postgres(program, account, "-c", "config_file=/dev/null", "-c", f"{name}={value}").returncode != 0
    }


def _postgres(program: Program, account: Account, *options: str) -> subprocess.CompletedProcess[str]:
    """Have PostgreSQL read a configuration and print a setting; CenoteError if it does not."""
    try:
        return _printing(program, account, options)
    except subprocess.TimeoutExpired:
        raise CenoteError(f"{program.name} has not read its configuration within a minute") from None


def _printing(
    program: Program, account: Account, options: tuple[str, ...]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*program.argv, *options, "-C", "port"],
        cwd=program.directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment.OF_PROGRAMS,
        user=account.uid,
        group=account.gid,
        extra_groups=None if account.uid is None else [],
        check=False,
        timeout=60,
    )


async def ended(process: Process, seconds: float) -> bool:
    """Wait until a process has ended; return whether it has."""
    event = asyncio.Event()
    watch = ProcessWatch()
    watch.add(process, event.set)
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    finally:
        watch.close()
    return True


def reap() -> None:
    """Reap servers, and orphans of servers, that have ended as our children.

    Short-lived children, which other code here waits for, are in our own session and are left alone.
    """
    session = os.getsid(0)
    with contextlib.suppress(ChildProcessError, OSError):  # no child, or no file descriptor left
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            fields = stat_fields(ended.si_pid)
            if fields is not None and int(fields[3]) == session:  # the kernel names no other one before it
                _reap_others(session)
                return
            os.waitpid(ended.si_pid, os.WNOHANG)


def _reap_others(session: int) -> None:
    for pid in children(os.getpid()):
        fields = stat_fields(pid)
        if fields is not None and fields[0] == b"Z" and int(fields[3]) != session:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


class ProcessWatch:
    """Calls back once when a process ends, whoever its parent is.

    Its pidfd becomes readable then (pidfd_open(2)), also for processes that are not our children.
    """

    def __init__(self) -> None:
        self._descriptors: dict[Process, int] = {}

    def add(self, process: Process, callback: Callable[[], None]) -> None:
        """Watch a process, unless it is watched already."""
        if process in self._descriptors:
            return
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            callback()
            return
        self._descriptors[process] = descriptor
        asyncio.get_running_loop().add_reader(descriptor, self._fire, process, callback)
        # The pid may have been reused before pidfd_open.
        if identify(process.pid) != process:
            self._fire(process, callback)

    def close(self) -> None:
        for process in list(self._descriptors):
            self._forget(process)

    def _fire(self, process: Process, callback: Callable[[], None]) -> None:
        if process in self._descriptors:
            self._forget(process)
            reap()
            callback()

    def _forget(self, process: Process) -> None:
        descriptor = self._descriptors.pop(process)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


def stat_fields(pid: int) -> list[bytes] | None:
    """Return the fields of ``/proc/<pid>/stat`` from the state on: state, parent, group, session, …"""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The field before the state is the program's name in parentheses, with any characters (proc(5)).
    return stat[stat.rindex(b")") + 2 :].split()
