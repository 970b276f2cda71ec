"""An answer, with the names that pydo's users know from ``error.response`` and from ``cls=``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cenote_client._response import Response as Plain


class Response:
    """What the service answered; its text is decoded as UTF-8 whatever the headers say."""

    def __init__(self, answer: Plain, token: str) -> None:
        self._answer = answer
        self._token = token

    @property
    def token(self) -> str:
        """The token, to be taken out of texts that may repeat it."""
        return self._token

    @property
    def status_code(self) -> int:
        return self._answer.status_code

    @property
    def reason(self) -> str:
        return self._answer.reason_phrase

    @property
    def headers(self) -> Mapping[str, str]:
        return self._answer.headers

    @property
    def content_type(self) -> str | None:
        return self.headers.get("content-type")

    @property
    def content(self) -> bytes:
        return self._answer.content

    def body(self) -> bytes:
        return self._answer.content

    def text(self) -> str:
        return self._answer.content.decode("utf-8-sig", "replace")

    def json(self) -> Any:
        return json.loads(self.text())

    def __repr__(self) -> str:
        return f"<Response: {self.status_code} {self.reason}>"


class PipelineResponse:
    """What ``cls=`` gets as its first argument."""

    def __init__(self, answer: Response) -> None:
        self.http_response = answer
        self.context: dict[str, Any] = {}
