"""The private etcd of one machine, as a process."""

from __future__ import annotations

from pathlib import Path


class PrivateEtcd:
    """A single-member etcd in ``directory``, on a unix socket there, outliving us."""

    def __init__(self, directory: Path, etcd: Path = Path("/usr/bin/etcd")) -> None:
        raise NotImplementedError

    @property
    def socket(self) -> Path:
        """Where its JSON gateway listens: for ``Gateway(socket=…)``."""
        raise NotImplementedError

    @property
    def pid(self) -> int | None:
        """The process, while it lives."""
        raise NotImplementedError

    async def start(self) -> None:
        """Adopt the living one or start one; Misconfigured with the end of its log when it does not start."""
        raise NotImplementedError

    async def watch(self) -> None:
        """Start it again whenever it dies, until cancelled."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Stop it, by force when it does not listen."""
        raise NotImplementedError
