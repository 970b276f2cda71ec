"""The format of records: written into each, and never read past."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from cenote.errors import Unavailable
from cenote.model.fleet_records import Presence
from cenote.model.groups import Tag
from cenote.model.records import Tombstone
from cenote.store.encoding import FORMAT, NewerFormat, decode, encode, format_of
from cenote.store.keys import Keys

ID = UUID(int=7)


def test_a_record_says_its_format_and_reads_back() -> None:
    record = Tombstone(name="a", at=datetime(2026, 1, 2, tzinfo=UTC))
    value = encode(record)
    assert msgspec.json.decode(value)["format"] == 2 == format_of(value)
    assert decode("k", value, msgspec.json.Decoder(Tombstone)) == record


def test_a_record_whose_fields_all_have_their_default_is_json_too() -> None:
    class Empty(msgspec.Struct, omit_defaults=True):
        name: str = ""

    assert encode(Empty()) == b'{"format":2}'
    assert msgspec.json.decode(encode(Tag(name="t")), type=Tag) == Tag(name="t")


def test_a_record_without_a_format_is_of_the_first() -> None:
    assert format_of(b'{"run":"r","directory":"d"}') == 1
    assert decode("k", b'{"run":"r","directory":"d"}', msgspec.json.Decoder(Presence)).run == "r"


def test_a_newer_record_is_refused_in_words_even_if_its_fields_could_not_be_read() -> None:
    with pytest.raises(NewerFormat, match=r"clusters/x .* newer version of Cenote \(format 99") as refused:
        decode("clusters/x", b'{"format":99,"run":[1],"unknown":{}}', msgspec.json.Decoder(Presence))
    assert isinstance(refused.value, Unavailable)
    assert refused.value.format == 99 > FORMAT


@pytest.mark.parametrize("value", [b"", b"[]", b"{", b'{"format":"x"}'])
def test_what_is_no_record_is_damaged(value: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode("k", value, msgspec.json.Decoder(Presence))


def test_all_that_a_host_writes_lies_below_its_own_id() -> None:
    keys = Keys("/cenote")
    for key in (keys.report("h/1", ID, "n/1"), keys.request("h/1", ID), keys.certificate("h/1", ID)):
        assert key.startswith(keys.prefix)
        assert keys.steps(key)[1] == "h/1"
    assert keys.report("h/1", ID, "n/1").startswith(keys.reports("h/1", ID))
    assert keys.event(None, "e") == "/cenote/v2/events/-/e"
    assert not keys.marker.startswith(keys.prefix)
