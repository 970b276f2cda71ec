"""The one place where records are read and written, one function for each query."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar
from uuid import UUID

from cenote.domain import Cluster, Host, NodeStatus, Token
from cenote.errors import Conflict
from cenote.store.gateway import Gateway
from cenote.store.tables import Stored

T = TypeVar("T")


class NameTaken(Conflict):
    """Another cluster has this name."""


class PortTaken(Conflict):
    """Another cluster has claimed ``ports`` on ``host``; choose others and try again."""

    def __init__(self, host: str, ports: frozenset[int]) -> None:
        super().__init__(f"ports {sorted(ports)} of host {host} are taken")
        self.host = host
        self.ports = ports


class Changes(AsyncIterator[UUID]):
    """Ids of clusters whose record was changed or removed: first all, then each change, coalesced.

    ``async for id in changes``; a context manager, so that it ends with its reader.  It
    ends, too, when the store closes.
    """

    async def __anext__(self) -> UUID:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Store:
    """Reads are from memory, writes wait until the memory has them; a write that may or may not have
    happened when a connection broke is found out about before anything is tried again."""

    def __init__(self, gateway: Gateway, prefix: str = "/cenote/") -> None:
        raise NotImplementedError

    async def open(self) -> None:
        """Read every record and follow the changes; Unavailable when etcd does not answer."""
        raise NotImplementedError

    async def close(self) -> None:
        """Stop following; announced hosts are withdrawn.  The gateway stays open."""
        raise NotImplementedError

    @property
    def connected(self) -> bool:
        """Whether changes are coming in; while False, reads answer with what was last seen."""
        raise NotImplementedError

    @property
    def revision(self) -> int:
        """The revision of the store that reads answer from."""
        raise NotImplementedError

    def cluster(self, id: UUID) -> Stored[Cluster] | None:
        """A cluster, also one with ``deleted_at``."""
        raise NotImplementedError

    def cluster_by_name(self, name: str) -> Stored[Cluster] | None:
        """The cluster that holds this name; never one with ``deleted_at``."""
        raise NotImplementedError

    def clusters(self, *, deleted: bool = True, tag: str | None = None) -> list[Stored[Cluster]]:
        """All clusters; ``deleted=False`` leaves out those with ``deleted_at``, ``tag`` those without it."""
        raise NotImplementedError

    def status(self, cluster_id: UUID, node_name: str) -> NodeStatus | None:
        raise NotImplementedError

    def hosts(self) -> list[Host]:
        """The hosts that are alive, by name."""
        raise NotImplementedError

    def host(self, name: str) -> Host | None:
        raise NotImplementedError

    def token(self, sha256_hex: str) -> Token | None:
        raise NotImplementedError

    def tokens(self) -> list[Token]:
        """All tokens, the oldest first."""
        raise NotImplementedError

    def ports(self, host: str) -> set[int]:
        """The ports of a host that clusters have claimed."""
        raise NotImplementedError

    async def add_cluster(self, cluster: Cluster) -> int:
        """Write the record and claim its name and ports, all or nothing; return the revision.

        Raises NameTaken or PortTaken.
        """
        raise NotImplementedError

    async def update_cluster(self, id: UUID, change: Callable[[Cluster], Cluster]) -> Stored[Cluster]:
        """Replace the record by ``change`` of it; ``change`` is called again when somebody else was faster.

        Returning the very same object writes nothing.  NotFound when there is none or it has ``deleted_at``.
        """
        raise NotImplementedError

    async def delete_cluster(self, id: UUID, at: datetime) -> Stored[Cluster]:
        """Set ``deleted_at`` and free the name; the ports stay claimed.  NotFound as for a change."""
        raise NotImplementedError

    async def forget_cluster(self, id: UUID) -> None:
        """Remove the record, what was seen of it and its claims; nothing when it is gone already."""
        raise NotImplementedError

    async def report(self, cluster_id: UUID, node_name: str, status: NodeStatus) -> None:
        """Write what is seen of a node, unless only ``at`` differs or the cluster is forgotten."""
        raise NotImplementedError

    async def announce_host(self, host: Host, ttl: int = 10) -> None:
        """Write the host and keep it there while we live; it vanishes ``ttl`` seconds after we do.

        Called again it replaces the record.
        """
        raise NotImplementedError

    async def add_token(self, sha256_hex: str, token: Token) -> None:
        raise NotImplementedError

    async def revoke_token(self, id: UUID) -> None:
        """Remove a token; NotFound when there is none with this id."""
        raise NotImplementedError

    async def wait(self, condition: Callable[[], T | None], seconds: float) -> T | None:
        """Return what ``condition`` returns as soon as that is not None; None after ``seconds``.

        It is evaluated at once and after every change of a record; it must not wait itself.
        """
        raise NotImplementedError

    def changes(self) -> Changes:
        """Subscribe to changed clusters, beginning with all of them."""
        raise NotImplementedError
