"""What a server says of itself in its log."""

from __future__ import annotations

from pathlib import Path

import pytest

from cenote.engine.look import server_log
from cenote.engine.plan import standby

REMOVED = "requested WAL segment 000000010000000000000003 has already been removed"
AT = "2026-03-01 10:00:00.000 UTC"
PREFIXES = {
    f"{AT} [7] ": f"{AT} [8] [user=u,db=d,app=a] ",
    f"{AT} [7]: [1-1] user=,db=,app=,client= ": f"{AT} [8]: [1-1] user=u,db=d,app=a,client=192.0.2.1 ",
    "pid=7,user=,db=,app=,client= ": "pid=8,user=u,db=d,app=a,client=192.0.2.1 ",
}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_server_says_that_the_wal_is_gone_whatever_sessions_write_meanwhile(
    prefix: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    others = f"{PREFIXES[prefix]}ERROR:  division by zero\n{PREFIXES[prefix]}STATEMENT:  SELECT 1/0\n" * 50
    log.write_text(f"{prefix}FATAL:  could not receive data from WAL stream: ERROR:  {REMOVED}\n{others}")
    assert standby.lacks_wal(server_log.own_messages(log))


@pytest.mark.parametrize("prefix", PREFIXES)
def test_no_session_can_say_so_in_its_place(prefix: str, tmp_path: Path) -> None:
    log, session = tmp_path / "log", PREFIXES[prefix]
    log.write_text(
        f"{prefix}LOG:  waiting for WAL to become available at 0/3000000\n"
        f'{session}ERROR:  invalid input syntax for type integer: "{REMOVED}"\n'
        f"{session}STATEMENT:  SELECT\n\t'\n\t{prefix}FATAL:  {REMOVED}'::int\n"
    )
    assert server_log.own_messages(log) == "LOG:  waiting for WAL to become available at 0/3000000"


def test_the_end_of_a_long_message_is_not_taken_for_one(tmp_path: Path) -> None:
    log = tmp_path / "log"
    end = f"{AT} [7] FATAL:  {REMOVED}"
    filling = "x" * (64 * 1024 - len(end) - 1)
    log.write_text(f"{AT} [8] [user=u,db=d,app=a] ERROR:  {filling}{end}\n")
    assert server_log.own_messages(log) == ""
    log.write_text(f"{AT} [8] [user=u,db=d,app=a] ERROR:  {filling}\n{end}\n")
    assert server_log.own_messages(log) == f"FATAL:  {REMOVED}"


def test_neither_can_its_user_whatever_that_is_called(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(f"{AT} [8]: [1-1] user=,db=x,db=d,app=a,client=192.0.2.1 FATAL:  {REMOVED}\n")
    assert server_log.own_messages(log) == ""


def test_a_log_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert server_log.own_messages(tmp_path / "log") == ""
