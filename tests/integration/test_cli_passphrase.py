"""Passphrases on a terminal: asked for, twice when they are new, and never shown."""

from __future__ import annotations

import os
import pty
import select
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from cenote.model.record import Secret
from cenote.security import backup_file
from tests.support.service import CENOTE, clean_environment

PASSPHRASE = "correct horse battery"
PROMPT = b": "
SECONDS = 60


def typed(arguments: list[str], *answers: str) -> tuple[int, str]:
    """Run a command on a terminal, and answer what it asks; return its exit code and what was shown."""
    terminal, end = pty.openpty()
    with subprocess.Popen(
        [CENOTE, *arguments],
        env=clean_environment(),
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
    ) as process:
        os.close(end)
        shown, left = b"", list(answers)
        while select.select([terminal], [], [], SECONDS)[0]:
            try:
                part = os.read(terminal, 4096)
            except OSError:  # the command has ended
                break
            shown += part
            if part.endswith(PROMPT) and left:
                os.write(terminal, left.pop(0).encode() + b"\n")
        else:
            process.kill()
    os.close(terminal)
    return process.returncode, shown.decode()


def test_a_new_passphrase_is_asked_for_until_it_was_typed_twice(tmp_path: Path) -> None:
    arguments = ["service", "backup", str(tmp_path / "file"), f"--data-dir={tmp_path / 'none'}"]
    code, shown = typed(arguments, PASSPHRASE, PASSPHRASE + "x", PASSPHRASE, PASSPHRASE)
    assert "The two entered values do not match" in shown
    assert "no service has been started with" in shown
    assert code == 1
    assert "horse" not in shown
    assert "must have at least 8 characters" in typed(arguments, "short", "short")[1]
    assert list(tmp_path.iterdir()) == []


def test_a_known_passphrase_is_asked_for_once(tmp_path: Path) -> None:
    file = tmp_path / "file"
    made_at = datetime.now(UTC)
    file.write_bytes(backup_file.encrypted(b"", Secret(PASSPHRASE), cenote="1", made_at=made_at))
    assert "the passphrase is wrong" in typed(["service", "show", str(file)], "another one")[1]
    code, shown = typed(["service", "show", str(file)], PASSPHRASE)
    assert "the content of the backup cannot be read" in shown, "it is empty, so this is past the passphrase"
    assert code == 1
    assert "horse" not in shown
