"""A client that measures how long a service is away after a fault."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx

from tests.support.service import tried

PATIENCE = 60.0  # seconds
PAUSE = 0.002
_MADE, _REMOVED, _GONE, _TAKEN = 201, 204, 404, 422


class Probe:
    """Asks for a cluster of its own, and adds and removes a pool of it."""

    def __init__(self, http: httpx.Client, cluster: str) -> None:
        self._http, self._path = http, f"/v2/databases/{cluster}"
        self._number = 0

    def answer(self) -> None:
        """Wait until the cluster is shown."""
        _wait_until("the API answers", lambda: self._status("GET", self._path) == httpx.codes.OK)

    def change(self) -> Callable[[], None]:
        """Wait until a new pool answers; what is returned removes it."""
        self._number += 1
        name = f"probe-{self._number}"
        wanted = {"name": name, "mode": "transaction", "size": 1, "db": "defaultdb", "user": "doadmin"}
        pools = f"{self._path}/pools"
        # A pool that was made by a request without an answer is refused the second time.
        _wait_until("a pool is made", lambda: self._status("POST", pools, wanted) in (_MADE, _TAKEN))
        _wait_until("the pool answers", lambda: tried(self._uri(f"{pools}/{name}")) == 42)
        gone = (_REMOVED, _GONE)
        return lambda: _wait_until(
            "the pool is gone", lambda: self._status("DELETE", f"{pools}/{name}") in gone
        )

    def _uri(self, path: str) -> str:
        uri: str = self._http.get(path).raise_for_status().json()["pool"]["connection"]["uri"]
        return uri

    def _status(self, method: str, path: str, body: dict[str, Any] | None = None) -> int:
        return self._http.request(method, path, json=body).status_code


def _wait_until(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except httpx.HTTPError:
            pass  # the service is away
        time.sleep(PAUSE)
    raise AssertionError(f"waited {PATIENCE} s in vain until {what}")
