"""A request with the service and the caller, and what changes of a cluster go through."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from cenote.api.auth import Caller
from cenote.api.service import Service, uuid_of
from cenote.errors import Busy, Invalid, Malformed, NotInForce, Unauthenticated
from cenote.http.routing import ClientDisconnect, Receive, Request, Scope, Send
from cenote.model.event_records import EventType, Note
from cenote.model.parts import PartName
from cenote.model.records import Cluster, ClusterStatus, RemovalKind
from cenote.model.status_records import NodeStatus
from cenote.rules import in_force, removals, replicas, restorations, sql_changes
from cenote.store import Stored

T = TypeVar("T")

_MAX_REQUEST_LINE = 300  # characters, in an event


class PendingView(msgspec.Struct):
    """An extension of Cenote: the change is recorded and not in force yet, and why."""

    reason: str
    pending: bool = True


@dataclass(frozen=True, slots=True)
class Changed:
    """A changed cluster; ``pending`` if the change is not in force yet."""

    cluster: Cluster
    pending: PendingView | UnsetType


class Call(Request):
    """A request with the service and the caller."""

    def __init__(self, service: Service, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        self.service = service

    @property
    def caller(self) -> Caller:
        caller: Caller | None = self.scope.get("auth")
        if caller is None:
            raise Unauthenticated
        return caller

    @property
    def request_id(self) -> str:
        return str(self.scope.get("request_id", ""))

    def cluster(self) -> Stored[Cluster]:
        """Return the cluster in the path."""
        return self.service.cluster(self.path_params["database_cluster_uuid"])

    def refuse_replica(self, why: str) -> None:
        """Raise Invalid, for this reason, if the cluster in the path is a read replica."""
        cluster = self.cluster().value
        if cluster.replica_of is not None:
            source = self.service.store.living_cluster(cluster.replica_of)
            raise Invalid(replicas.refusal(cluster, source, why))

    async def confirm_path(self) -> bool:
        """Refresh the resource in the path from etcd; return whether the cache was out of date."""
        store, named = self.service.store, self.path_params
        given = named.get("database_cluster_uuid") or named.get("deleted_cluster_uuid", "")
        if (id := uuid_of(given)) is not None:
            return await store.confirm_cluster(id)
        if "host_id" in named:
            return await store.confirm_hosts()
        if named.keys() & {"project_id", "vpc_id", "tag_name"}:
            return await store.groups.confirm(clusters="tag_name" in named)
        return False

    def require_idle(self, cluster: Cluster) -> None:
        """Raise Busy while an earlier change to a cluster is in progress.

        A change that fails may be superseded by another.
        """
        seen = self.service.report(cluster)
        status = self.service.status(cluster)
        if status is not ClusterStatus.ONLINE and not (seen is not None and seen.reached and seen.failing):
            raise Busy(f"update cluster cannot be performed. Reason: cluster is {status}")

    def note(self, type: EventType | None = None) -> Note:
        """Return the audit data of this request, to be written together with a change."""
        client = self.scope.get("client")
        return Note(
            what=request_line(self.method, self.scope["path"]),
            request_id=self.request_id,
            address=client[0] if client is not None else "",
            token_id=self.caller.token.id,
            token_name=self.caller.token.name,
            type=type,
        )

    async def change_cluster(
        self,
        change: Callable[[Cluster], Cluster],
        type: EventType = EventType.CLUSTER_UPDATE,
        *,
        access: Collection[PartName] = (),
    ) -> Changed:
        """Change the cluster in the path, and wait for the agent to carry it out, at most ``wait_seconds``.

        A change that takes access away must be in force, else NotInForce is raised.  ``access`` are the parts
        of an operation that may be one: when it is repeated, it waits for what was changed before.
        """
        first = self.cluster()
        replaced = first.value

        def noting(current: Cluster) -> Cluster:
            nonlocal replaced
            replaced = current
            changed = change(current)
            restorations.check_adopted(current, changed)
            return changed

        stored = await self.service.store.update_cluster(first.value.id, noting, self.note(type))
        status = self.service.report(stored.value)
        required = in_force.was_tried(status) and (
            in_force.closes(replaced, stored.value)
            or (bool(access) and not in_force.progress(status, first.revision, access).in_force)
        )
        parts = in_force.concerned(replaced, stored.value) | set(access)
        reason = await self.service.wait_until_in_force(stored, parts, required=required)
        return Changed(stored.value, pending=PendingView(reason) if reason else UNSET)

    async def remove_from_cluster(
        self,
        kind: RemovalKind,
        name: str,
        remove: Callable[[Cluster, str, NodeStatus | None], Cluster],
    ) -> None:
        """Remove a user or database from the cluster in the path, and wait until it is dropped.

        A call that is repeated meanwhile waits for the same drop, and until a user that was dropped is locked
        out of the pools.  NotInForce when it takes too long.
        """
        await self.service.look_for(self.cluster().value, kind, name)
        await self._take_over(kind, name)
        first = self.cluster()

        def change(current: Cluster) -> Cluster:
            seen = self.service.report(current)
            if removals.is_pending(current, kind, name, seen) or (
                kind is RemovalKind.USER
                and current.user(name) is None
                and current.removal(kind, name) is not None
                and not in_force.progress(seen, first.revision, in_force.LOCKED_OUT).in_force
            ):
                return current
            removed = remove(current, name, seen)
            restorations.check_adopted(current, removed)
            return removed

        note = self.note(EventType.CLUSTER_UPDATE)
        stored = await self.service.store.update_cluster(first.value.id, change, note)
        required = in_force.was_tried(self.service.report(stored.value))
        await self.service.wait_until_removed(stored, kind, name, required=required)

    async def _take_over(self, kind: RemovalKind, name: str) -> None:
        """Have what SQL made under this name in the record and in the ledger: nothing else is dropped."""
        before = self.cluster().value
        taken = sql_changes.with_listed(before, kind, name, self.service.by_sql(before))
        if taken is before:
            return
        note = self.note(EventType.CLUSTER_UPDATE)
        stored = await self.service.store.update_cluster(
            before.id,
            lambda current: sql_changes.with_listed(current, kind, name, self.service.by_sql(current)),
            note,
        )
        parts = in_force.concerned(before, stored.value)
        if reason := await self.service.wait_until_in_force(stored, parts, required=True):
            raise NotInForce(reason)

    async def wait_for_name(self, kind: RemovalKind, name: str) -> None:
        """Wait, as long as a change waits, until a former user or database of this name is dropped."""
        await self.service.wait_until_removed(self.cluster(), kind, name, required=False)

    async def decoded(self, kind: type[T]) -> T:
        """Return the decoded body; Malformed if it is not JSON, Invalid if it does not match ``kind``."""
        try:
            body = await self.limited_body(self.service.settings.max_body_bytes)
        except ClientDisconnect:
            raise Malformed("The request body has ended too early.") from None
        if not body.strip():
            raise Malformed("The request needs a JSON body.")
        try:
            decoded: T = _decoder(kind).decode(body)  # type: ignore[arg-type]
        except msgspec.ValidationError as error:
            raise Invalid(_in_ascii(str(error)[:400])) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Malformed("The request body is not valid JSON.") from None
        return decoded


def _in_ascii(text: str) -> str:
    """Escape control and non-ASCII characters: the text may quote a client and end up on a terminal."""
    return "".join(char if " " <= char <= "~" else ascii(char)[1:-1] for char in text)


def request_line(method: str, path: str) -> str:
    """Return method and path, as recorded in events."""
    return f"{method} {path}"[:_MAX_REQUEST_LINE]


@functools.cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)
