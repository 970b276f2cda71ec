"""A server on loopback that answers as a test tells it to, and keeps what it was asked."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from cenote.security import certificates


class Asked(NamedTuple):
    """One request as it came; the names of its headers are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]


class Reply(NamedTuple):
    """The bytes to answer with, whatever they are; ``ends`` closes the connection after them."""

    data: bytes
    ends: bool = False


def reply(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
    """Return a well-formed answer, in JSON unless ``headers`` say otherwise."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Unknown"
    fields = {"content-length": str(len(body))}
    if status in (204, 304):
        fields, body = {}, b""
    if body:
        fields["content-type"] = "application/json"
    fields |= headers or {}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return Reply(f"HTTP/1.1 {status} {reason}\r\n{head}\r\n".encode() + body)


class Recorder:
    """What was asked, in order, and how it is answered: ``answer`` may be replaced at any time."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.asked: list[Asked] = []
        self.connections = 0
        self.ended = 0  # of these connections
        self.faults: list[str] = []  # errors of the recorder itself, which fail the test
        self.answer: Callable[[Asked], Reply] = lambda asked: reply(200, b"{}")

    def answers(self, *replies: Reply) -> None:
        """Answer with these, the last one from then on; forget what was asked before."""
        waiting = list(replies)
        self.asked = []
        self.answer = lambda asked: waiting.pop(0) if len(waiting) > 1 else waiting[0]


@contextmanager
def recorder(folder: Path | None = None) -> Iterator[Recorder]:
    """A recorder; with a folder over TLS, by an authority in ``ca.crt`` there, else over plain HTTP."""
    server = _Server(("127.0.0.1", 0), _Connection)
    if folder is not None:
        server.tls = _tls(folder)
    server.recorder = Recorder(f"{'https' if folder else 'http'}://localhost:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="recorder")
    thread.start()
    try:
        yield server.recorder
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert not server.recorder.faults, server.recorder.faults


def _tls(folder: Path) -> ssl.SSLContext:
    authority, key = certificates.new_authority("recorder")
    (folder / "ca.crt").write_text(authority)
    chain = folder / "server.pem"
    chain.touch(mode=0o600)
    chain.write_bytes(certificates.issue(authority, key, ("localhost",)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def handle_one_request(self) -> None:
        self.close_connection = True
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            return
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        fields = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, fields, body)
        self.server.recorder.asked.append(asked)
        answer = self.server.recorder.answer(asked)
        self.wfile.write(answer.data)
        self.close_connection = self.close_connection or answer.ends


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # a client that keeps its connection must not keep the test
    tls: ssl.SSLContext | None = None
    recorder: Recorder

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.recorder.connections += 1
        if self.tls is not None:
            # The handshake comes with the first read, in the connection's own thread.
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.recorder.ended += 1

    def handle_error(self, request: object, client_address: object) -> None:
        error = sys.exception()
        if not isinstance(
            error, OSError
        ):  # which is a client that went away, or that trusts no such certificate
            self.recorder.faults.append(repr(error))
