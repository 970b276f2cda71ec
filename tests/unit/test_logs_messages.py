"""Messages in the logs of servers: which lines belong together, and what is told by their heads."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.logs.messages import MAX_TEXT, Severity, parse_messages
from cenote.model.records import LogSource

HEAD = "2026-11-22 17:47:54.123 UTC [41] "
WHO = "[user=app,db=orders,app=psql] "
AT = datetime(2026, 11, 22, 17, 47, 54, 123000, tzinfo=UTC)


def lines(*texts: str) -> bytes:
    return "".join(text + "\n" for text in texts).encode()


def test_the_parts_of_a_message_and_the_lines_of_a_statement_are_one_message() -> None:
    data = lines(
        HEAD + WHO + 'ERROR:  relation "t" does not exist at character 9',
        HEAD + WHO + "HINT:  There is none.",
        HEAD + WHO + "STATEMENT:  SELECT 1",
        "\tFROM t",
        "\t",
        "\tWHERE true",
        HEAD + "LOG:  checkpoint starting: time",
    )
    first, second = parse_messages(data, LogSource.POSTGRES)
    assert first.text == (
        '[user=app,db=orders,app=psql] ERROR:  relation "t" does not exist at character 9\n'
        "HINT:  There is none.\nSTATEMENT:  SELECT 1\n\tFROM t\n\t\n\tWHERE true"
    )
    assert (first.severity, first.at, first.process) == (Severity.ERROR, AT, 41)
    assert (first.user, first.database, first.application) == ("app", "orders", "psql")
    assert (second.severity, second.text) == (Severity.LOG, "LOG:  checkpoint starting: time")
    assert (first.start, first.end, second.start, second.end) == (0, second.start, first.end, len(data))


@pytest.mark.parametrize(
    ("line", "severity"),
    [
        ("pid=41,user=app,db=orders,app=psql,client=192.0.2.1FATAL:  no", Severity.FATAL),
        ("pid=41,user=,db=,app=,client=LOG:  listening", Severity.LOG),
        (
            "2026-11-22 17:47:54 UTC [41]: [3-1] user=app,db=orders,app=psql,client=::1 WARNING:  x",
            Severity.WARNING,
        ),
        (HEAD + "[user=app,db=orders,app=a b] PANIC:  x", Severity.PANIC),
        (HEAD + "DEBUG3:  x", Severity.DEBUG),
    ],
)
def test_each_prefix_that_can_be_chosen_is_understood(line: str, severity: Severity) -> None:
    (message,) = parse_messages(lines(line), LogSource.POSTGRES)
    assert (message.severity, message.process) == (severity, 41)
    if "user=app" in line:
        assert (message.user, message.database) == ("app", "orders")


def test_lines_of_the_pooler_have_its_own_levels() -> None:
    data = lines(HEAD + "LOG C-0x1: db/user@unix:1 login attempt", HEAD + "WARNING odd", HEAD + "NOISE ping")
    found = parse_messages(data, LogSource.PGBOUNCER)
    assert [message.severity for message in found] == [Severity.LOG, Severity.WARNING, Severity.DEBUG]
    assert found[0].text == "LOG C-0x1: db/user@unix:1 login attempt"
    assert found[0].at == AT


def test_a_part_of_another_process_is_a_message_of_its_own() -> None:
    other = HEAD.replace("[41]", "[42]")
    found = parse_messages(lines(HEAD + "ERROR:  one", other + "STATEMENT:  SELECT 2"), LogSource.POSTGRES)
    assert [message.text for message in found] == ["ERROR:  one", "STATEMENT:  SELECT 2"]


def test_what_a_program_says_without_a_head_is_a_message() -> None:
    found = parse_messages(lines("sh: 1: nothing: not found", HEAD + "LOG:  x"), LogSource.POSTGRES)
    assert (found[0].text, found[0].at, found[0].severity) == (
        "sh: 1: nothing: not found",
        None,
        Severity.LOG,
    )


def test_a_time_of_another_zone_is_not_guessed() -> None:
    (message,) = parse_messages(lines(HEAD.replace("UTC", "IST") + "LOG:  x"), LogSource.POSTGRES)
    assert message.at is None


def test_a_line_without_its_end_waits() -> None:
    data = lines(HEAD + "LOG:  whole") + b"2026-11-22 17:4"
    (message,) = parse_messages(data, LogSource.POSTGRES)
    assert message.end == data.index(b"\n") + 1


def test_the_text_of_a_message_has_a_bound_and_says_what_is_missing() -> None:
    (message,) = parse_messages(lines(HEAD + "LOG:  " + "x" * (MAX_TEXT + 100)), LogSource.POSTGRES)
    assert message.text.endswith("… (106 more characters)")


@pytest.mark.parametrize("piece", [",db=,app=", ",db=", ",app=", ",db=,app=,client=", "] ", "[1-1] "])
def test_a_line_made_to_keep_the_reader_busy_does_not(piece: str) -> None:
    (message,) = parse_messages(lines(HEAD + "user=" + piece * 20_000), LogSource.POSTGRES)
    assert message.severity is Severity.LOG
    short = HEAD + "user=x" + (",db=" * 10 + ",app=" * 15 + ",client=" * 60) + piece * 40
    assert len(parse_messages(lines(*[short] * 1_000), LogSource.POSTGRES)) == 1_000


def test_a_message_of_many_lines_is_kept_as_far_as_it_is_shown() -> None:
    text = "LOG:  first\n" + "\ta\n" * 300_000
    (message,) = parse_messages(lines(HEAD + text), LogSource.POSTGRES)
    assert message.text.endswith(f"({len(text) - MAX_TEXT} more characters)")


def test_a_message_does_not_show_its_text_by_itself() -> None:
    (message,) = parse_messages(
        lines(HEAD + "STATEMENT:  ALTER ROLE app PASSWORD 'secret'"), LogSource.POSTGRES
    )
    assert "secret" not in repr(message)


@given(st.binary(max_size=400), st.sampled_from(LogSource), st.integers(0, 10**12))
def test_messages_cover_every_whole_line_without_gap_or_overlap(
    data: bytes, source: LogSource, start: int
) -> None:
    found = parse_messages(data, source, start)
    ends = [start, *(message.end for message in found)]
    assert [message.start for message in found] == ends[:-1]
    assert ends[-1] == start + data.rfind(b"\n") + 1


words = st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), min_size=1, max_size=40)


@given(st.lists(st.lists(words, min_size=1, max_size=4), max_size=8))
def test_however_many_lines_a_statement_has_its_message_is_one(statements: list[list[str]]) -> None:
    data = b"".join(lines(HEAD + "LOG:  statement: " + "\n\t".join(statement)) for statement in statements)
    found = parse_messages(data, LogSource.POSTGRES)
    assert [message.text for message in found] == [
        "LOG:  statement: " + "\n\t".join(statement) for statement in statements
    ]
