"""The response in ``error.response`` and ``cls=``, with the attributes that it has in pydo."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cenote_client._response import Response as Plain


class Response:
    """An HTTP response; its text is decoded as UTF-8 whatever the headers say."""

    def __init__(self, response: Plain, token: str) -> None:
        self._response = response
        self._token = token

    @property
    def token(self) -> str:
        """The token, to be redacted from error messages."""
        return self._token

    @property
    def status_code(self) -> int:
        return self._response.status_code

    @property
    def reason(self) -> str:
        return self._response.reason_phrase

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    @property
    def content_type(self) -> str | None:
        return self.headers.get("content-type")

    @property
    def content(self) -> bytes:
        return self._response.content

    def body(self) -> bytes:
        return self._response.content

    def text(self) -> str:
        return self._response.content.decode("utf-8-sig", "replace")

    def json(self) -> Any:
        return json.loads(self.text())

    def __repr__(self) -> str:
        return f"<Response: {self.status_code} {self.reason}>"


class PipelineResponse:
    """The first argument of a ``cls=`` callback."""

    def __init__(self, response: Response) -> None:
        self.http_response = response
        self.context: dict[str, Any] = {}
