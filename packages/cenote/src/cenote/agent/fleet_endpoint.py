"""The agent's port for the APIs of other hosts: mutual TLS with the fleet's certificates.

Only who shows a certificate with the role ``api`` is answered.  A host that has other roles, or was removed,
is refused in words; everybody else by TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

from uvicorn.config import Config
from uvicorn.server import ServerState

from cenote.agent.observer_endpoint import (
    MAX_CONNECTIONS,
    Answering,
    application,
    break_off,
    refusal,
)
from cenote.errors import CenoteError, Misconfigured
from cenote.http import fleet_tls, tls_context
from cenote.http import server as http_server
from cenote.http.admission import Admission, most_by_descriptors
from cenote.http.listener import Listener
from cenote.http.routing import Receive, Scope, Send
from cenote.http.server import protocol_config
from cenote.http.timeouts import TimeoutProtocol
from cenote.model.fleet_records import HostRole
from cenote.security import fleet_certificates

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
RENEWAL_SECONDS = 60.0  # between two looks at the certificate
REMOVED_SECONDS = 5.0  # between two looks at which hosts were removed
NOT_AN_API = "Only a host with the role api may ask the agents of other hosts."
WAS_REMOVED = "This host was removed, and may not ask the agents of other hosts any more."
ADDRESS_CAP = MAX_CONNECTIONS // 2  # of the connections of one host


class Shown(NamedTuple):
    """This host's certificate and key, and the fleet's CA certificate, in PEM."""

    certificate: bytes
    key: bytes
    authority: str

    def __repr__(self) -> str:
        return "Shown(…)"


class FleetEndpoint:
    """Serves the questions of an ``ObserverEndpoint`` on a port of these addresses.

    ``shown`` reads this host's certificate, which is renewed now and then; None while there is none.
    ``removed`` reads the ids of the hosts that were removed; while it cannot, those known before stay
    refused.
    """

    def __init__(
        self,
        answering: Answering,
        addresses: Iterable[str],
        port: int,
        shown: Callable[[], Shown | None],
        removed: Callable[[], Awaitable[frozenset[str]]],
    ) -> None:
        self._addresses, self._port, self._shown = tuple(addresses), port, shown
        self._read_removed, self._removed = removed, frozenset[str]()
        self._state = ServerState()
        self._config = protocol_config(application(answering), limit_concurrency=MAX_CONNECTIONS)
        self._admission = Admission(min(MAX_CONNECTIONS, most_by_descriptors()), ADDRESS_CAP)

    async def run(self) -> None:
        """Serve until cancelled; the questions that are open then are broken off."""
        shown = await self._first()
        context = fleet_tls.server_context(*shown)
        listeners: list[Listener] = []
        await self._look_at_removed()
        looking = asyncio.create_task(self._follow_removed(), name="removed hosts")
        try:
            for address in self._addresses:
                listening = await self._listening(address)
                listeners.append(Listener(listening, context, self._admission, self._protocol))
            await self._renew(context, shown)
        finally:
            looking.cancel()
            for one in listeners:
                one.close()
            await break_off(self._state)
            for one in listeners:
                await one.wait_closed()

    def _protocol(self) -> TimeoutProtocol:
        return _Admitting(self._config, self._state, {}, lambda id: id in self._removed)

    async def _follow_removed(self) -> None:
        while True:
            await asyncio.sleep(REMOVED_SECONDS)
            await self._look_at_removed()

    async def _look_at_removed(self) -> None:
        # A former version's controller has not given the right to read it yet; an etcd may be out of reach.
        with contextlib.suppress(CenoteError):
            self._removed = await self._read_removed()

    async def _first(self) -> Shown:
        while (shown := self._shown()) is None:
            await asyncio.sleep(RETRY_SECONDS)
        return shown

    async def _renew(self, context: ssl.SSLContext, shown: Shown) -> None:
        """Show another certificate once there is one."""
        while True:
            await asyncio.sleep(RENEWAL_SECONDS)
            now = self._shown()
            if now not in (None, shown):
                # Files are replaced one after the other: those that do not match yet are read again.
                with contextlib.suppress(OSError):
                    tls_context.replace(context, now.certificate, now.key)
                    shown = now

    async def _listening(self, address: str) -> socket.socket:
        """Return a listening socket; another program may have the port for a while."""
        told = ""
        while True:
            try:
                return http_server.listen(address, self._port)
            except Misconfigured as error:
                why, _, _ = error.message.partition(";")  # what follows is about the API's port
                if why != told:
                    log.warning(
                        "the agent %s, so other hosts get no answers about the clusters of this one; give an "
                        "address of this host with --address, or other ports with --fleet-port",
                        why,
                    )
                told = why
            await asyncio.sleep(RETRY_SECONDS)


class _Admitting(TimeoutProtocol):
    """A connection whose questions are answered if the client's certificate says that it may ask."""

    def __init__(
        self, config: Config, state: ServerState, app_state: dict[str, Any], is_removed: Callable[[str], bool]
    ) -> None:
        super().__init__(config, state, app_state)
        self._is_removed = is_removed

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        shown: dict[str, Any] = transport.get_extra_info("peercert") or {}
        names = [value for kind, value in shown.get("subjectAltName", ()) if kind == "DNS"]
        host_id, answering = fleet_certificates.host_id_of(names), self.app
        if HostRole.API not in fleet_certificates.roles_of(names):
            log.warning("the host %s may not ask this agent", host_id or "?")
            self.app = _refuse
            return

        async def asked(scope: Scope, receive: Receive, send: Send) -> None:
            # A connection stays open for long, so it is looked at with each question.
            if scope["type"] == "http" and self._is_removed(host_id):
                await refusal(WAS_REMOVED, 403)(scope, receive, send)
            else:
                await answering(scope, receive, send)

        self.app = asked


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await refusal(NOT_AN_API, 403)(scope, receive, send)
