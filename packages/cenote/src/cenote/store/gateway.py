"""etcd's JSON gateway over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cenote.domain import Secret


class Gateway:
    """A client of one etcd cluster; ``socket`` for the private one, ``urls`` for an outside one."""

    def __init__(
        self,
        *,
        socket: Path | None = None,
        urls: Sequence[str] = (),
        ca: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        username: str = "",
        password: Secret | None = None,
    ) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        """Close every connection."""
        raise NotImplementedError
