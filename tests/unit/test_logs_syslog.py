"""Messages in the forms of syslog."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.errors import Invalid
from cenote.logs import syslog
from cenote.logs.messages import Message, Severity
from cenote.logs.place import Place
from cenote.logs.syslog import Format
from cenote.model.records import LogSource

PLACE = Place(UUID(int=1), "backend", "node-1", "db-1")
OURS = '[cenote@32473 host="db-1" node="node-1"]'
AT = datetime(2026, 3, 1, 7, 8, 9, 120_999, tzinfo=UTC)


def message(
    text: str = "LOG:  x", severity: Severity = Severity.LOG, source: LogSource = LogSource.POSTGRES
) -> Message:
    return Message(source, 0, 1, text, severity, AT, 41)


def frame(text: str, format: Format = Format.RFC5424, **more: str) -> bytes:
    return syslog.frame(message(text), format=format, place=PLACE, **more)


def test_a_message_after_rfc_5424_has_its_length_in_front() -> None:
    text = f"<134>1 2026-03-01T07:08:09.120Z backend postgres 41 - {OURS} LOG:  é\n\tx"
    assert frame("LOG:  é\n\tx") == f"{len(text.encode())} {text}".encode()


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        ('TOKEN tag="x"', '[TOKEN tag="x"]'),
        ('[example@41058 iut="3"]', '[example@41058 iut="3"]'),
        ('[a x="1"][b][c@1 y="\\]\\""]', '[a x="1"][b][c@1 y="\\]\\""]'),
        ("TOKEN", "[TOKEN]"),
        ("", "-"),
    ],
)
def test_structured_data_stands_in_one_pair_of_brackets(data: str, sent: str) -> None:
    if data:
        syslog.check_structured_data(data)
    assert frame("LOG:  x", data=data).endswith(f" - {sent.strip('-')}{OURS} LOG:  x".encode())
    filled = frame("M", Format.CUSTOM, data=data, template="%structured-data% %msg%")
    assert filled == f"{sent} M\n".encode()
    assert frame("M", Format.RFC3164, data=data) == frame("M", Format.RFC3164)


def test_a_host_is_named_whatever_its_name_is() -> None:
    place = replace(PLACE, host='a"b]c\\d')
    framed = syslog.frame(message(), format=Format.RFC5424, place=place)
    assert b'[cenote@32473 host="a\\"b\\]c\\\\d" node="node-1"]' in framed


@pytest.mark.parametrize("data", ['[cenote@32473 host="x"]', 'cenote@32473 host="x"', "cenote@32473"])
def test_what_is_sent_anyway_is_not_sent_twice(data: str) -> None:
    with pytest.raises(Invalid, match="sent with each message anyway"):
        syslog.check_structured_data(data)


def test_a_template_is_used_by_its_format_alone() -> None:
    for format in (Format.RFC3164, Format.RFC5424):
        assert frame("M", format, template="%msg%") == frame("M", format)


def test_a_day_of_one_digit_has_a_space_before_it_after_rfc_3164() -> None:
    assert frame("LOG:  x", Format.RFC3164) == b"<134>Mar  1 07:08:09 backend postgres[41]: LOG:  x\n"


def test_every_tag_of_a_template_is_filled_in() -> None:
    template = " ".join(f"%{tag}%" for tag in syslog.TAGS)
    syslog.check_template(template)
    expected = "backend postgres db-1 M - node-1 134 41 - Mar  1 07:08:09 2026-03-01T07:08:09.120Z\n"
    assert frame("M", Format.CUSTOM, template=template).decode() == expected


def test_what_a_message_says_fills_in_nothing() -> None:
    assert frame("%pri% %msg%", Format.CUSTOM, template="[%msg%]") == b"[%pri% %msg%]\n"


@pytest.mark.parametrize(
    ("source", "levels"),
    [
        (
            LogSource.POSTGRES,
            {"debug": 7, "log": 6, "notice": 5, "warning": 5, "error": 4, "fatal": 3, "panic": 2},
        ),
        (LogSource.PGBOUNCER, {"debug": 7, "log": 6, "warning": 4, "error": 3, "fatal": 2}),
    ],
)
def test_severities_are_those_that_the_servers_give_to_syslog(
    source: LogSource, levels: dict[str, int]
) -> None:
    for word, level in levels.items():
        assert syslog.priority(message(severity=Severity(word), source=source)) == 128 + level


@pytest.mark.parametrize("template", ["%nothing%", "100 %", "a\nb", "x" * 3000, "%msg", "%%"])
def test_a_template_that_cannot_be_filled_in_is_refused(template: str) -> None:
    with pytest.raises(Invalid, match=r"config\.logline"):
        syslog.check_template(template)


@pytest.mark.parametrize(
    "data",
    [
        "a b",
        'a b="',
        'a b="x"]',
        '[a b="x"',
        '[[a b="x"]]',
        '[a b="x"] [c]',
        '[a b="x"]c',
        'a b="x"][c d="y"',
        '[a b="x"][c d="y]"]',
        '[a][b x="1"][a]',
        '[a b="x\n"]',
        "[]",
        '[a b="x"]<0>1 - - - - - - injected',
        'a b="x\n"',
        'a b="x" c',
        "a b=c",
    ],
)
def test_structured_data_that_is_none_is_refused(data: str) -> None:
    with pytest.raises(Invalid, match=r"config\.sd"):
        syslog.check_structured_data(data)


@pytest.mark.parametrize(
    "data", ["name", 'TOKEN tag="x"', 'id@32473 a="1" b="\\"\\]\\\\"', '[a b="[x"][c d="%msg%"]']
)
def test_structured_data_may_have_any_number_of_values(data: str) -> None:
    syslog.check_structured_data(data)


texts = st.lists(st.text(max_size=60), max_size=8)


@given(texts)
def test_messages_after_rfc_5424_are_told_apart_whatever_they_say(said: list[str]) -> None:
    data, found = b"".join(frame(text) for text in said), []
    while data:
        length, _, data = data.partition(b" ")
        found.append(data[: int(length)].partition(f"{OURS} ".encode())[2].decode())
        data = data[int(length) :]
    assert found == said


@given(texts, st.sampled_from([Format.RFC3164, Format.CUSTOM]))
def test_the_other_forms_have_a_line_for_each_message_whatever_it_says(
    said: list[str], format: Format
) -> None:
    data = b"".join(frame(text, format, template="%msg%") for text in said)
    lines = data.decode().split("\n")
    assert lines.pop() == ""
    assert len(lines) == len(said)
    for line, text in zip(lines, said, strict=True):
        assert not re.search(r"[\x00-\x1f\x7f]", line)
        if "#" not in text:
            plain = re.sub(r"#(\d{3})", lambda found: chr(int(found[1], 8)), line)
            assert plain.endswith(text)


@given(st.text(alphabet='ab1 @="[]\\%<>\n', max_size=40))
def test_structured_data_that_is_accepted_is_read_as_elements(data: str) -> None:
    try:
        syslog.check_structured_data(data)
    except Invalid:
        return
    assert _elements(syslog.structured_data(data)) is not None


def _elements(text: str) -> int | None:
    """Count the elements of structured data as a receiver reads them; None if it is not a whole block."""
    count, position = 0, 0
    while position < len(text):
        if text[position] != "[":
            return None
        position, quoted = position + 1, False
        while position < len(text) and (quoted or text[position] != "]"):
            if quoted and text[position] == "\\":
                position += 1
            elif text[position] == '"':
                quoted = not quoted
            position += 1
        if position >= len(text):
            return None
        count, position = count + 1, position + 1
    return count or None
