"""A minimal HTTPS server for benchmarks of clients: it sends the same response to every GET.

``python -m bench.answering CERTIFICATE BODY`` (two files) prints the port that it listens on, on 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path
from typing import cast

import uvloop

END = b"\r\n\r\n"


class Answering(asyncio.Protocol):
    """Sends the same bytes at the end of each request's headers."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own are no subclasses

    def data_received(self, data: bytes) -> None:
        self._head += data
        while END in self._head:
            self._head = self._head.partition(END)[2]
            self._transport.write(self._answer)


async def serve(certificate: str, body: bytes) -> None:
    head = (
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nx-request-id: 5d1c4c1e-0d2b-4a52-a1ed-b4fa4ab7fb5d\r\n"
        "ratelimit-limit: 5000\r\nratelimit-remaining: 4999\r\nratelimit-reset: 1767225600\r\n\r\n"
    )
    answer = head.encode() + body
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answering(answer), "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], Path(sys.argv[2]).read_bytes()))
