"""The JSON of records: each says in which format it is written, and one that is too new is not decoded.

A record of a newer format is never taken for absent, nor decoded without the fields that this version does
not know, since a later write would lose them.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from cenote.errors import Unavailable
from cenote.rules import record_formats

T = TypeVar("T")

FORMAT = record_formats.HIGHEST  # that this version reads; it writes the lowest that a record needs


class NewerFormat(Unavailable):
    """A record was written by a newer version of Cenote."""

    def __init__(self, key: str, format: int) -> None:
        super().__init__(
            f"The record {key} was written by a newer version of Cenote (format {format}; this version reads "
            f"up to {FORMAT}). Upgrade this service."
        )
        self.format = format


class _Header(msgspec.Struct):
    format: int = 1  # before records said it


_header = msgspec.json.Decoder(_Header)


def encode(record: msgspec.Struct) -> bytes:
    """Return a record as a JSON object with its format."""
    text = msgspec.json.encode(record)
    format = record_formats.needed(record)
    return b'{"format":%d%s%s' % (format, b"" if text == b"{}" else b",", text[1:])


def format_of(value: bytes) -> int:
    """Return the format of an encoded record; DecodeError when it is not one."""
    return _header.decode(value).format


def decode(key: str, value: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Return the record; NewerFormat when it is of a newer one, DecodeError when it is damaged."""
    format = format_of(value)
    if format > FORMAT:
        raise NewerFormat(key, format)
    return decoder.decode(value)
