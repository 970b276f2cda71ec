"""What a forked process gives up, and its tie to the process that forked it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from cenote.host.processes import Account

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_GET_PDEATHSIG = 2
_PR_SET_NAME = 15
_PR_SET_NO_NEW_PRIVS = 38


def become(account: Account) -> None:
    """Become another account for good: no supplementary groups, no way back, no set-user-ID programs.

    Nothing happens when ``account`` is our own.
    """
    if account.uid is None or account.gid is None:
        return
    os.setgroups([])
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


@contextlib.contextmanager
def acting_as(account: Account) -> Iterator[None]:
    """Reach what another account can reach and nothing else, for a moment; nothing for our own.

    A change of account clears the tie to our parent, if there is one, so it is made again.
    """
    if account.uid is None or account.gid is None:
        yield
        return
    user, group, groups = os.geteuid(), os.getegid(), os.getgroups()
    parent, number = os.getppid(), _signal_at_parents_end()
    os.setgroups([])
    os.setegid(account.gid)
    os.seteuid(account.uid)
    try:
        yield
    finally:
        os.seteuid(user)
        os.setegid(group)
        os.setgroups(groups)
        if number:
            end_with(parent, number)


def closed_to(account: Account, folder: Path) -> Path | None:
    """Return the first folder on the way to ``folder``, or it itself, that an account cannot pass through."""
    with acting_as(account):
        for one in (*reversed(folder.parents), folder):
            try:
                os.stat(f"{one}/.")
            except PermissionError:
                return one
    return None


def end_with(parent: int, number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when its parent dies; call it after a change of account.

    A change of account clears the request (PR_SET_PDEATHSIG(2const)).  A parent that died before it was made
    is noticed here.
    """
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def _signal_at_parents_end() -> int:
    """Return the signal of ``end_with``; 0 if there is none."""
    number = ctypes.c_int(0)
    ctypes.CDLL(None).prctl(_PR_GET_PDEATHSIG, ctypes.byref(number), 0, 0, 0)
    return number.value


def name_process(name: str) -> None:
    """Set the name that ``ps -o comm`` and ``top`` show; the kernel keeps 15 bytes."""
    _prctl(_PR_SET_NAME, ctypes.create_string_buffer(name.encode()))


def _prctl(option: int, argument: int | ctypes.Array[ctypes.c_char]) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
