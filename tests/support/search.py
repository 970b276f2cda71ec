"""An HTTP server that takes logs as OpenSearch and Elasticsearch do, and fails in every way that they can."""

from __future__ import annotations

import base64
import contextlib
import fnmatch
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cenote.security import certificates
from tests.support.ports import free_range

Verdict = Callable[[dict[str, Any]], tuple[int, str]]


class Search:
    """``documents`` by index and id.  ``troubles`` are what the next calls of ``_bulk`` meet, one each:

    a status (with 3xx it redirects to ``elsewhere``), ``"dead"`` (no answer), ``"silent"`` (none until it is
    released), or a function that gives the status and the error of each document.
    """

    def __init__(self, authority: tuple[str, str] | None, folder: Path | None, login: str) -> None:
        self.documents: dict[str, dict[str, Any]] = {}
        self.troubles: list[int | str | Verdict] = []
        self.calls: list[str] = []
        self.writes: list[str] = []  # the id of each document that was made
        self.released = threading.Event()
        self.port = free_range(1)
        self._login, self._lock = login, threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._answering())
        self._server.daemon_threads = True
        self.scheme = "http"
        if authority is not None and folder is not None:
            pem = folder / "search.pem"
            pem.write_bytes(certificates.issue(*authority, ["localhost"]))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pem)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def url(self) -> str:
        login = f"{self._login}@" if self._login else ""
        return f"{self.scheme}://{login}localhost:{self.port}"

    def texts(self) -> list[str]:
        with self._lock:
            return [one["message"] for index in self.documents.values() for one in index.values()]

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, body: bytes, trouble: Verdict | None) -> dict[str, Any]:
        lines = [json.loads(line) for line in body.splitlines()]
        items = []
        with self._lock:
            for action, document in zip(lines[::2], lines[1::2], strict=True):
                [(verb, where)] = action.items()
                index = self.documents.setdefault(where["_index"], {})
                status, error = trouble(document) if trouble is not None else (201, "")
                if status == 201 and where["_id"] in index:
                    status, error = 409, "version_conflict_engine_exception"
                if status == 201:
                    index[where["_id"]] = document
                    self.writes.append(where["_id"])
                failed = {"error": {"type": error, "reason": "x"}} if error else {}
                items.append({verb: {"status": status, **failed}})
        return {"errors": True, "items": items}

    def _answering(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Answering(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if not self._admitted():
                    return
                trouble = outer.troubles.pop(0) if outer.troubles else None
                if trouble == "dead":
                    self.close_connection = True
                    return
                if trouble == "silent":
                    outer.released.wait(60)
                    self.close_connection = True
                    return
                if isinstance(trouble, int):
                    self._say(trouble, {"status": trouble})
                else:
                    self._say(200, outer.take(body, trouble if callable(trouble) else None))

            def do_GET(self) -> None:
                if self._admitted():
                    pattern = self.path.partition("?")[0].removeprefix("/_cat/indices/")
                    names = fnmatch.filter(outer.documents, pattern)
                    self._say(200, [{"index": name} for name in names])

            def do_DELETE(self) -> None:
                if self._admitted():
                    found = outer.documents.pop(self.path[1:], None)
                    self._say(404 if found is None else 200, {})

            def _admitted(self) -> bool:
                outer.calls.append(f"{self.command} {self.path}")
                expected = "Basic " + base64.b64encode(outer._login.encode()).decode()
                if outer._login and self.headers.get("authorization") != expected:
                    self._say(401, {})
                    return False
                return True

            def _say(self, status: int, content: Any) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("location", f"{outer.scheme}://localhost:{outer.port}/elsewhere")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        return Answering


@contextlib.contextmanager
def search(
    authority: tuple[str, str] | None = None, folder: Path | None = None, login: str = ""
) -> Iterator[Search]:
    server = Search(authority, folder, login)
    try:
        yield server
    finally:
        server.close()
