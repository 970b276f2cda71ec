"""Somebody who has broken out of a server: code that runs as the servers' account, while we work."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import textwrap
from collections.abc import Iterator

from cenote.host.processes import Account


def as_account(account: Account, code: str, *arguments: object) -> bool:
    """Run Python code as the account; return whether it was allowed to do what it wanted."""
    done = subprocess.run(
        _command(account, code, arguments), cwd="/", check=False, capture_output=True, text=True
    )
    assert done.returncode == 0 or "PermissionError" in done.stderr, done.stderr
    return done.returncode == 0


@contextlib.contextmanager
def repeating(account: Account, code: str, *arguments: object) -> Iterator[None]:
    """Have the account run code again and again, whatever comes of it."""
    attempt = f"with contextlib.suppress(OSError):\n{textwrap.indent(code, '    ')}"
    repeated = f"print('begins', flush=True)\nwhile True:\n{textwrap.indent(attempt, '    ')}"
    command = _command(account, repeated, arguments)
    with subprocess.Popen(command, cwd="/", stdout=subprocess.PIPE) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == b"begins\n"
            yield
        finally:
            running.kill()


def _command(account: Account, code: str, arguments: tuple[object, ...]) -> list[str]:
    """Return what becomes the account once it is loaded; the account may not reach our interpreter."""
    user, group = account.uid, account.gid
    become = (
        f"os.setgroups([]); os.setresgid({group}, {group}, {group}); os.setresuid({user}, {user}, {user})"
    )
    return [sys.executable, "-c", f"import contextlib, os, sys\n{become}\n{code}", *map(str, arguments)]
