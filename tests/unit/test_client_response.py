"""Responses: case-insensitive headers and decompression."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote_client import AnswerError
from cenote_client._response import Headers, Response, make_response

TEXT = b'{"pool": {"name": "backend-pool"}}' * 20


def answered(content: bytes, coding: str, status: int = 200) -> Response:
    headers = [(b"Content-Encoding", coding.encode()), (b"Content-Type", b"application/json")]
    return make_response(status, headers, {"reason_phrase": b"As it is"}, content)


def raw_deflate(text: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(text) + compressor.flush()


def test_a_header_is_found_in_any_case() -> None:
    headers = Headers([(b"X-Request-Id", b"abc")])
    assert headers["x-request-id"] == headers["X-REQUEST-ID"] == headers.get("X-Request-id") == "abc"
    assert "x-Request-id" in headers
    assert "other" not in headers
    assert headers.get("other") is None
    assert dict(headers) == {"x-request-id": "abc"}


def test_the_values_of_a_header_that_comes_twice_are_joined() -> None:
    assert Headers([(b"Vary", b"accept"), (b"vary", b"origin")])["vary"] == "accept, origin"


def test_the_values_of_headers_are_left_out_of_the_repr() -> None:
    headers = Headers([(b"Set-Cookie", b"session=secret")])
    assert repr(headers) == "Headers(['set-cookie'])"
    assert "secret" not in repr(Response(200, "OK", headers, b"secret"))


def test_a_body_without_a_coding_is_as_it_came() -> None:
    answer = make_response(201, [], {}, TEXT)
    assert answer == Response(201, "", answer.headers, TEXT)


@pytest.mark.parametrize(
    ("coding", "content"),
    [
        ("gzip", gzip.compress(TEXT, mtime=0)),
        ("X-GZIP", gzip.compress(TEXT, mtime=0)),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT)),
        ("identity", TEXT),
        ("deflate, gzip", gzip.compress(zlib.compress(TEXT), mtime=0)),
    ],
)
def test_a_compressed_body_is_as_it_was_before(coding: str, content: bytes) -> None:
    assert answered(content, coding).content == TEXT


@pytest.mark.parametrize("content", [TEXT, gzip.compress(TEXT, mtime=0)[:-9], b"\x1f\x8b"])
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
def test_a_success_that_cannot_be_decompressed_is_an_error(coding: str, content: bytes) -> None:
    with pytest.raises(AnswerError, match="content-encoding"):
        answered(content, coding)


def test_an_error_that_cannot_be_decompressed_keeps_its_status() -> None:
    answer = answered(TEXT, "gzip", status=503)
    assert (answer.status_code, answer.reason_phrase, answer.content) == (503, "As it is", b"")


@given(content=st.binary(max_size=200), coding=st.text(st.characters(codec="ascii"), max_size=20))
def test_any_bytes_under_any_coding_are_read_or_left_out(content: bytes, coding: str) -> None:
    assert isinstance(answered(content, coding, status=500).content, bytes)
