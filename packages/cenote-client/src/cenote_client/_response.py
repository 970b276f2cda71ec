"""An answer as the rest of this library reads it, under the names that httpx gives to the same things."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from .errors import AnswerError


class Headers(Mapping[str, str]):
    """The headers of an answer; names match in any case, and values of one name are joined by commas."""

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
    """One answer, read to its end."""

    status_code: int
    reason_phrase: str
    headers: Mapping[str, str]
    content: bytes

    def __repr__(self) -> str:
        return f"<Response: {self.status_code} {self.reason_phrase}>"


def make_response(
    status: int, headers: Iterable[tuple[bytes, bytes]], extensions: Mapping[str, Any], content: bytes
) -> Response:
    """Return the answer with its body as it was before compression.

    When the body is not what its content-encoding says: an error without it, AnswerError for a success.
    """
    reason = extensions.get("reason_phrase", b"").decode("latin-1")
    answer = Response(status, reason, Headers(headers), content)
    coding = answer.headers.get("content-encoding")
    if not coding or not content:
        return answer
    try:
        for step in reversed(coding.split(",")):
            content = _undone(step.strip().lower(), content)
    except ValueError:
        if status < 400:
            what = "the body does not match its content-encoding"
            raise AnswerError(status, "unreadable_answer", what) from None
        content = b""
    return answer._replace(content=content)


def _undone(coding: str, content: bytes) -> bytes:
    """Return what the coding was made from; ValueError when it is not of this coding, or cut short."""
    import zlib

    if coding == "identity":
        return content
    if coding in ("gzip", "x-gzip"):
        windows = [16 + zlib.MAX_WBITS]
    elif coding == "deflate":
        windows = [zlib.MAX_WBITS, -zlib.MAX_WBITS]  # some servers leave out the zlib header
    else:
        raise ValueError("a coding that was not asked for")
    for window in windows:
        whole = zlib.decompressobj(window)
        try:
            text = whole.decompress(content) + whole.flush()
        except zlib.error:
            continue
        if whole.eof:
            return text
    raise ValueError(f"not of the coding {coding}")
