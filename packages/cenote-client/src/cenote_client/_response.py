"""An HTTP response, independent of the library below; attributes are named as in httpx."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from .errors import AnswerError


class Headers(Mapping[str, str]):
    """Response headers: names are case-insensitive, repeated headers are joined with commas."""

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        found: dict[str, str] = {}
        for raw_name, raw_value in pairs:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            found[name] = f"{found[name]}, {value}" if name in found else value
        self._found = found

    def __getitem__(self, name: str) -> str:
        return self._found[name.lower()]

    def get(self, name: str, default: Any = None) -> Any:
        return self._found.get(name.lower(), default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"Headers({list(self)})"


class Response(NamedTuple):
    """A response with its whole body."""

    status_code: int
    reason_phrase: str
    headers: Mapping[str, str]
    content: bytes

    def __repr__(self) -> str:
        return f"<Response: {self.status_code} {self.reason_phrase}>"


def make_response(
    status: int, headers: Iterable[tuple[bytes, bytes]], extensions: Mapping[str, Any], content: bytes
) -> Response:
    """Return the response with its body decompressed.

    If the body does not match its content-encoding, a success raises AnswerError; an error status is returned
    with an empty body, so that the caller sees the status.
    """
    reason = extensions.get("reason_phrase", b"").decode("latin-1")
    response = Response(status, reason, Headers(headers), content)
    coding = response.headers.get("content-encoding")
    if not coding or not content:
        return response
    try:
        for step in reversed(coding.split(",")):
            content = _decompress(step.strip().lower(), content)
    except ValueError:
        if status < 400:
            what = "the body does not match its content-encoding"
            raise AnswerError(status, "unreadable_answer", what) from None
        content = b""
    return response._replace(content=content)


def _decompress(coding: str, content: bytes) -> bytes:
    """Return the decompressed content; ValueError if it is invalid or truncated."""
    import zlib

    if coding == "identity":
        return content
    if coding in ("gzip", "x-gzip"):
        windows = [16 + zlib.MAX_WBITS]
    elif coding == "deflate":
        windows = [zlib.MAX_WBITS, -zlib.MAX_WBITS]  # some servers omit the zlib header
    else:
        raise ValueError("a coding that was not requested")
    for window in windows:
        whole = zlib.decompressobj(window)
        try:
            text = whole.decompress(content) + whole.flush()
        except zlib.error:
            continue
        if whole.eof:
            return text
    raise ValueError(f"invalid {coding} data")
