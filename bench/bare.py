"""The floor of an API call: a bare ASGI application that sends the same response to every request.

``python -m bench.bare PORT CERTIFICATE ANSWER`` serves it as ``cenote serve`` serves the API: the same server
with the same settings and the same certificate.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import uvicorn


def application(headers: list[tuple[bytes, bytes]], body: bytes) -> Any:
    async def bare(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return bare


def main(port: int, certificate: str, answer: str) -> None:
    """``answer`` is a JSON file with a list of headers, and the body as text."""
    with open(answer, encoding="utf-8") as file:
        headers, body = json.load(file)
    uvicorn.run(
        application([(name.encode(), value.encode()) for name, value in headers], body.encode()),
        host="127.0.0.1",
        port=port,
        http="httptools",
        loop="uvloop",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        ssl_certfile=certificate,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:4])
