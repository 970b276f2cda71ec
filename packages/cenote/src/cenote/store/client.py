"""A client of etcd's JSON gateway: one function for each call that the store makes.

Nothing is retried here, except at the next endpoint when no connection could be made: then the request was
certainly not carried out.  Every other failure is Unavailable, and leaves open whether it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import httpx
import msgspec

from cenote.errors import Misconfigured, Unavailable
from cenote.model.record import Secret
from cenote.store import disk, etcd_messages
from cenote.store.endpoints import ALIVE, Endpoints
from cenote.store.etcd_http import BROKEN, Address, EtcdHttp, Tls

T = TypeVar("T")

CANCELLED, UNKNOWN, DEADLINE, NOT_FOUND, PERMISSION_DENIED, OUT_OF_RANGE, UNAVAILABLE = 1, 2, 4, 5, 7, 11, 14
PASSING = {CANCELLED, UNKNOWN, DEADLINE, UNAVAILABLE}  # no leader, a member that restarts, a timeout
# etcd says so before it carries anything out: it knows no token of ours, or has changed its users since.
USERS_CHANGED = "revision of auth store is old"  # each new user or right makes calls that are under way fail
LOGIN_WANTED = (b"invalid auth token", b"user name is empty", USERS_CHANGED.encode())
LOGIN_REFUSED = "authentication failed"
NO_LEADER = "no leader"
FOR_VOTERS = b"rpc not supported for learner"
NO_SPACE = "database space exceeded"
SILENT = "etcd did not answer in time; it, or a majority of its members, may be down or out of reach"
LOGINS = 3  # at most, for one call


class EtcdError(Unavailable):
    """etcd answered with an error that a retry does not solve, such as an exceeded quota."""


class Compacted(EtcdError):
    """The requested history is compacted; ``revision`` is the oldest that is left, or 0 if unknown."""

    def __init__(self, revision: int) -> None:
        super().__init__("the history that was asked for is compacted")
        self.revision = revision


class LeaseLost(EtcdError):
    """The lease has expired, and its keys with it."""


class LoginWanted(EtcdError):
    """etcd has authentication on, and this client no login."""


class KeyRange(msgspec.Struct, frozen=True):
    """A part of a listing; all parts show the store at the same revision."""

    revision: int
    found: list[etcd_messages.KeyValue]


class Watched(msgspec.Struct, frozen=True):
    """Events in order, and the revision up to which they are complete; 0 if only the watch was created."""

    revision: int
    events: list[etcd_messages.WatchEvent]


class LoginRefused(EtcdError):
    """etcd does not know this client's user, or knows it by another password."""


class EtcdClient:
    """A client of one etcd cluster: at ``socket``, at ``urls``, or wherever ``addresses`` says.

    ``addresses`` gives the endpoints as they are at that moment, the preferred ones first.
    """

    def __init__(
        self,
        *,
        socket: Path | None = None,
        urls: Sequence[str] = (),
        addresses: Callable[[], Sequence[Address]] | None = None,
        ca: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        fleet: bool = False,
        username: str = "",
        password: Secret | None = None,
    ) -> None:
        """With ``fleet``, each URL has to lead to a host of ours with the role store."""
        given: list[Address] = [] if socket is None else [socket]
        given += [url.rstrip("/") for url in urls]
        if not given and addresses is None:
            raise Misconfigured("no etcd endpoint is given")
        self._fleet = fleet or socket is not None
        self._disk = None if socket is None else socket.parent.parent  # the data directory
        self._http = EtcdHttp(socket, Tls(ca, certificate, key, fleet))
        self._endpoints = Endpoints(addresses or (lambda: given), self._http.status)
        self._username = username
        self._password = password

        def again(user: str, secret: Secret) -> EtcdClient:
            return EtcdClient(
                socket=socket,
                urls=urls,
                addresses=addresses,
                ca=ca,
                certificate=certificate,
                key=key,
                fleet=fleet,
                username=user,
                password=secret,
            )

        self._again = again
        self._token = ""
        self._logging_in = asyncio.Lock()

    def logged_in_as(self, username: str, password: Secret) -> EtcdClient:
        """Return a client of the same endpoints that logs in as another user; close it on its own."""
        return self._again(username, password)

    def _full_disk(self) -> str:
        """Say so if the private etcd's disk is full, since it ends then until there is room."""
        found = None if self._disk is None else disk.full(self._disk)
        return "" if found is None else f": {found}; it goes on by itself once there is room"

    async def close(self) -> None:
        """Close every connection."""
        await self._endpoints.close()
        await self._http.close()

    async def revision(self, prefix: str) -> int:
        """The current revision, by a linearizable read."""
        request = etcd_messages.Range(prefix.encode(), limit=1, count_only=True)
        return (await self._call("/v3/kv/range", request, etcd_messages.RangeResponse)).header.revision

    async def read(self, key: str) -> etcd_messages.KeyValue | None:
        """Read a key, linearizably."""
        return (await self.read_at(key))[0]

    async def read_at(self, key: str) -> tuple[etcd_messages.KeyValue | None, int]:
        """Read a key, linearizably; return the revision of the store at that moment as well."""
        answer = await self._call(
            "/v3/kv/range", etcd_messages.Range(key.encode()), etcd_messages.RangeResponse
        )
        return answer.kvs[0] if answer.kvs else None, answer.header.revision

    async def pages(
        self, prefix: str, size: int, *, keys_only: bool = False, without: Sequence[str] = ()
    ) -> AsyncGenerator[KeyRange, None]:
        """List all keys below ``prefix`` as of the first page; Compacted when that took too long.

        ``without`` are prefixes below it that are left out.
        """
        starts = [prefix.encode(), *map(etcd_messages.prefix_end, sorted(without))]
        ends = [*(left_out.encode() for left_out in sorted(without)), etcd_messages.prefix_end(prefix)]
        revision = 0
        for start, end in zip(starts, ends, strict=True):
            more = start < end
            while more:
                request = etcd_messages.Range(start, end, size, revision, keys_only=keys_only)
                answer = await self._call("/v3/kv/range", request, etcd_messages.RangeResponse)
                revision = revision or answer.header.revision
                yield KeyRange(revision, answer.kvs)
                more = answer.more
                if more:
                    start = answer.kvs[-1].key + b"\0"

    async def newest(self, prefix: str, count: int) -> tuple[list[etcd_messages.KeyValue], int]:
        """Return the keys below ``prefix`` that were changed last, newest first, and how many there are."""
        request = etcd_messages.Range(
            prefix.encode(),
            etcd_messages.prefix_end(prefix),
            count,
            sort_order="DESCEND",
            sort_target="MOD",
        )
        answer = await self._call("/v3/kv/range", request, etcd_messages.RangeResponse)
        return answer.kvs, answer.count

    async def transact(self, request: etcd_messages.TransactionRequest) -> etcd_messages.TransactionResponse:
        """Carry out one transaction; LeaseLost when it writes under a lease that is gone."""
        return await self._call("/v3/kv/txn", request, etcd_messages.TransactionResponse)

    async def grant_lease(self, seconds: int) -> int:
        return (await self._call("/v3/lease/grant", {"TTL": seconds}, etcd_messages.LeaseResponse)).ID

    async def keep_lease(self, lease: int) -> None:
        """Renew the lease; LeaseLost when it has expired."""
        answer = await self._call("/v3/lease/keepalive", {"ID": lease}, etcd_messages.KeepAliveResponse)
        if answer.result.TTL <= 0:
            raise LeaseLost("the lease has run out")

    async def revoke_lease(self, lease: int) -> None:
        await self._call("/v3/lease/revoke", {"ID": lease}, etcd_messages.Nothing)

    async def compact(self, revision: int) -> None:
        await self._call("/v3/kv/compaction", {"revision": revision, "physical": True}, etcd_messages.Nothing)

    async def administer(self, action: str, request: object, kind: type[T]) -> T:
        """Carry out an action of etcd's authentication, such as ``user/add``."""
        return await self._call(f"/v3/auth/{action}", request, kind)

    async def membership(self, action: str, request: object) -> etcd_messages.MembersResponse:
        """Carry out ``list``, ``add``, ``promote``, ``remove`` or ``update`` on the members of etcd."""
        return await self._call(f"/v3/cluster/member/{action}", request, etcd_messages.MembersResponse)

    @property
    def is_ours(self) -> bool:
        """Whether it is an etcd of the service's, and not one of the operator's."""
        return self._fleet

    async def answers(self, address: Address, seconds: float) -> bool:
        """Whether the member at an address lives; it may be without a leader."""
        return await self._http.status(address, ALIVE, seconds) > 0

    async def status(self) -> etcd_messages.StatusResponse:
        return await self._call("/v3/maintenance/status", {}, etcd_messages.StatusResponse)

    async def transfer_leadership(self, member: int) -> None:
        """Have another member lead; only the one that leads does so."""
        request = {"targetID": member}
        await self._call("/v3/maintenance/transfer-leadership", request, etcd_messages.Nothing)

    async def defragment(self) -> None:
        await self._call("/v3/maintenance/defragment", {}, etcd_messages.Nothing)

    async def disarm(self) -> None:
        """Clear the alarms that make etcd read-only after it exceeded its quota, on every member."""
        raised = await self._call("/v3/maintenance/alarm", {"action": "GET"}, etcd_messages.AlarmResponse)
        for alarm in raised.alarms:
            request = etcd_messages.AlarmRequest("DEACTIVATE", alarm.member, alarm.alarm)
            await self._call("/v3/maintenance/alarm", request, etcd_messages.Nothing)

    async def watch(self, prefix: str, start: int) -> AsyncGenerator[Watched, None]:
        """Follow all changes below ``prefix`` from revision ``start`` on; Compacted when that is gone."""
        create = etcd_messages.Range(prefix.encode(), etcd_messages.prefix_end(prefix))
        request = {
            "create_request": {
                "key": create.key,
                "range_end": create.range_end,
                "start_revision": start,
                "progress_notify": True,
                "fragment": True,
            }
        }
        lines = msgspec.json.Decoder(etcd_messages.WatchLine, strict=False)
        fragments: list[etcd_messages.WatchEvent] = []
        token = await self._authorize()
        address = self._endpoints.pick()
        try:
            async with self._http.stream(
                address, "/v3/watch", msgspec.json.encode(request), self._headers()
            ) as response:
                if response.status_code != httpx.codes.OK:
                    self._forget(token)
                    self._fail(address, response.status_code, await response.aread())
                async for line in self._watched(address, response):
                    told = lines.decode(line)
                    if told.result is None:
                        failure = told.error or etcd_messages.Failure()
                        self._endpoints.leave(address)
                        raise Unavailable(f"etcd ended the watch: {failure.message}")
                    result = told.result
                    if result.compact_revision:
                        raise Compacted(result.compact_revision)
                    if result.canceled:
                        # A refused watch gives no reason that tells an unknown token from a missing right.
                        self._forget(token)
                        raise Unavailable(f"etcd ended the watch: {result.cancel_reason}")
                    fragments += result.events
                    if result.fragment:
                        continue
                    events, fragments = fragments, []
                    yield Watched(_delivered_until(result, events), events)
        except (*BROKEN, msgspec.DecodeError) as error:
            self._endpoints.leave(address)
            raise Unavailable(f"the watch on etcd broke: {type(error).__name__}") from error

    async def _watched(self, address: Address, response: httpx.Response) -> AsyncIterator[bytes]:
        """Yield the lines of a watch; TimeoutError once its endpoint has fallen silent."""
        lines = aiter(_lines(response))
        while True:
            try:
                async with self._endpoints.waiting(address, for_ever=True):
                    line = await anext(lines)
            except StopAsyncIteration:
                return
            yield line

    async def _call(self, path: str, request: object, kind: type[T]) -> T:
        token = await self._authorize()
        address, answer = await self._send(path, request)
        for _ in range(LOGINS):
            if not (self._username and _wants_login(answer)):
                break
            self._forget(token)
            token = await self._authorize()
            address, answer = await self._send(path, request)
        if answer.status_code != httpx.codes.OK:
            self._fail(address, answer.status_code, answer.content)
        try:
            return msgspec.json.decode(answer.content, type=kind, strict=False)
        except msgspec.DecodeError as error:
            raise Unavailable("etcd's answer could not be read") from error

    async def _send(self, path: str, request: object) -> tuple[Address, httpx.Response]:
        content = msgspec.json.encode(request)
        reason: httpx.HTTPError | None = None
        answer: httpx.Response | None = None
        for _ in range(max(1, len(self._endpoints))):
            address = self._endpoints.pick()
            try:
                async with self._endpoints.waiting(address):
                    answer = await self._http.post(address, path, content, self._headers())
                if FOR_VOTERS not in answer.content:
                    return address, answer
                self._endpoints.leave(address)  # it has been added anew since, and only learns
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                reason = error
                self._endpoints.leave(address)
            except BROKEN as error:  # TimeoutError is an OSError
                self._endpoints.leave(address)
                is_late = isinstance(error, TimeoutError | httpx.TimeoutException)
                why = SILENT if is_late else f"the connection to etcd broke: {type(error).__name__}"
                raise Unavailable(f"{why}{self._full_disk()}") from error
        if answer is not None:
            return address, answer
        where = f" at any of its {len(self._endpoints)} members" if len(self._endpoints) > 1 else ""
        raise Unavailable(f"etcd cannot be reached{where}{self._full_disk()}") from reason

    async def _authorize(self) -> str:
        """Return the token that requests carry; log in when there is none, one call for all that wait."""
        if not self._username:
            return ""
        async with self._logging_in:
            if not self._token:
                password = self._password.reveal() if self._password else ""
                request = {"name": self._username, "password": password}
                address, answer = await self._send("/v3/auth/authenticate", request)
                if answer.status_code != httpx.codes.OK:
                    self._fail(address, answer.status_code, answer.content)
                kind = etcd_messages.AuthenticateResponse
                self._token = msgspec.json.decode(answer.content, type=kind).token
            return self._token

    def _headers(self) -> dict[str, str]:
        return {"authorization": self._token} if self._token else {}

    def _forget(self, token: str) -> None:
        """Log in before the next request, unless another call already has."""
        if self._token == token:
            self._token = ""

    def _fail(self, address: Address, status: int, content: bytes) -> None:
        try:
            failure = msgspec.json.decode(content, type=etcd_messages.Failure, strict=False)
        except msgspec.DecodeError:
            # Some refusals come as plain text, such as that of a client certificate with a CommonName.
            passing = httpx.codes.is_server_error(status)
            said = content[:200].decode(errors="replace").strip()
            failure = etcd_messages.Failure(said or f"status {status}", UNAVAILABLE if passing else 0)
        code = failure.code or failure.grpc_code
        if code == OUT_OF_RANGE:
            raise Compacted(0)
        if code == NOT_FOUND:
            raise LeaseLost(failure.message)
        if USERS_CHANGED in failure.message:
            raise Unavailable("etcd's users are being changed")
        if any(words.decode() in failure.message for words in LOGIN_WANTED):
            raise LoginWanted(f"etcd wants a login: {failure.message}")
        if code in PASSING:
            self._endpoints.leave(address)
            if NO_LEADER in failure.message:
                raise Unavailable(
                    f"etcd has no leader, as a majority of its members is down{self._full_disk()}"
                )
            raise Unavailable(f"etcd cannot serve: {failure.message}")
        if code == PERMISSION_DENIED:
            raise EtcdError(f"etcd refused: its user {self._username} lacks the right to this")
        if NO_SPACE in failure.message:
            raise EtcdError(
                "the store has reached its limit of size, and takes no change until the private etcd is "
                "tidied up, which is done within a minute; an etcd of your own has to be compacted and "
                "defragmented"
            )
        kind = LoginRefused if LOGIN_REFUSED in failure.message else EtcdError
        raise kind(f"etcd refused: {failure.message}")


def _wants_login(answer: httpx.Response) -> bool:
    return answer.status_code != httpx.codes.OK and any(words in answer.content for words in LOGIN_WANTED)


def _delivered_until(result: etcd_messages.WatchResult, events: list[etcd_messages.WatchEvent]) -> int:
    # With events the header's revision may be ahead of them: more events below it can follow.
    if events:
        return events[-1].kv.mod_revision
    return 0 if result.created else result.header.revision


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    pending: list[bytes] = []
    async for chunk in response.aiter_bytes():
        first, *others = chunk.split(b"\n")
        pending.append(first)
        for part in others:
            yield b"".join(pending)
            pending = [part]
