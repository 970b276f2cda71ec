"""The port on which new hosts ask to join the fleet, served beside the API.

Whoever reaches it may read the fleet's CA certificate and the time.  A request to join needs a token, and
those that are not known count against the address that they come from.  The port shows a certificate of the
fleet, which this process issues to itself and keeps in memory.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from http import HTTPMethod

import msgspec
from uvicorn.server import ServerState

from cenote.errors import CenoteError, Conflict, Forbidden, Invalid, TooManyRequests, Unavailable
from cenote.front.host_admission import HostAdmission, UnknownToken
from cenote.http.routing import HTTPException, Receive, Request, Response, Route, Scope, Send, router
from cenote.http.server import protocol_config
from cenote.http.timeouts import TimeoutProtocol
from cenote.http.tls_listener import TLSListener
from cenote.model.fleet_records import HostRole
from cenote.model.joining import FLEET, JOIN, FleetAnswer, JoinRequest, Refused
from cenote.security import certificates, fleet_certificates
from cenote.security.certificates import Validity
from cenote.security.sealing import Sealer
from cenote.security.throttle import Throttle
from cenote.store import Store

log = logging.getLogger(__name__)

MOST_BYTES = 32 * 1024  # of a request
_STATUS: dict[type[CenoteError], int] = {Invalid: 422, Conflict: 409, Forbidden: 403, TooManyRequests: 429}


class _Asked(Request):
    def __init__(self, endpoint: JoinEndpoint, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        self.endpoint = endpoint

    @property
    def source(self) -> str:
        """The address that the request comes from."""
        client = self.scope.get("client")
        return client[0] if client else ""


class JoinEndpoint:
    """``place`` are the address and the port of this host; ``state`` is the API server's."""

    def __init__(
        self,
        store: Store,
        sealer: Sealer,
        admission: HostAdmission,
        host_id: str,
        place: tuple[str, int],
        listen: Iterable[str],
        state: ServerState,
    ) -> None:
        self.store, self.admission, self.throttle = store, admission, Throttle()
        self._sealer, self._host_id, self._address = sealer, host_id, place[0]
        self._shown: tuple[str, bytes, Validity] | None = None
        config = protocol_config(
            router(_ROUTES, lambda *given: _Asked(self, *given), _refused), limit_concurrency=64
        )
        self._listener = TLSListener(
            listen, place[1], lambda _: True, self._certificate, lambda: TimeoutProtocol(config, state, {})
        )

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            await self._listener.serve()
        finally:
            await self.admission.close()

    def _certificate(self) -> bytes | None:
        """Return key and certificate that the port shows; None while the fleet has no CA."""
        authority = self.store.joining.authority()
        if authority is None:
            return None
        shown = self._shown
        if shown is None or shown[0] != authority.certificate or shown[2].is_due(datetime.now(UTC)):
            key, request = certificates.new_request()
            names = fleet_certificates.names_of_host(self._host_id, self._address, (HostRole.API,))
            ca_key = self._sealer.open(authority.sealed_key).reveal()
            issued = fleet_certificates.sign(authority.certificate, ca_key, request, names)
            content = key.encode() + issued.encode()
            self._shown = shown = authority.certificate, content, certificates.validity(content)
        return shown[1]


async def fleet(asked: _Asked) -> Response:
    """The fleet's CA certificate and the time, for anybody."""
    authority = asked.endpoint.store.joining.authority()
    if authority is None:
        raise Unavailable("the fleet has no CA yet; try again")
    return Response(msgspec.json.encode(FleetAnswer(authority.certificate, datetime.now(UTC))))


async def join(asked: _Asked) -> Response:
    """Admit a host that has a token."""
    endpoint = asked.endpoint
    if not endpoint.throttle.allows(asked.source):
        raise TooManyRequests(message="too many unknown tokens came from this address; try again in a minute")
    try:
        request = msgspec.json.decode(await asked.limited_body(MOST_BYTES), type=JoinRequest)
    except msgspec.DecodeError as error:
        raise Invalid(f"the request cannot be read: {_told(error)}; is Cenote of the same version?") from None
    try:
        answer = await endpoint.admission.admit(request, asked.source)
    except UnknownToken:
        endpoint.throttle.record_failure(asked.source)
        log.warning("an unknown token for joining came from %s", asked.source)
        raise
    except CenoteError as error:
        log.warning("the host %s at %s may not join: %s", request.name, asked.source, error.message)
        raise
    log.warning("the host %s joined from %s", request.name, asked.source)
    return Response(msgspec.json.encode(answer))


def _told(error: msgspec.DecodeError) -> str:
    """Return what is wrong with a request, which names fields and no values."""
    return str(error).partition("\n")[0]


_ROUTES = (Route(HTTPMethod.GET, FLEET, fleet), Route(HTTPMethod.POST, JOIN, join))


def _refused(asked: _Asked, error: Exception) -> Response:
    """Return an error in words, and nothing of a defect but that there is one."""
    match error:
        case HTTPException():
            status, message = error.status_code, str(error.detail)
        case CenoteError():
            status, message = _STATUS.get(type(error), 503), error.message
            if isinstance(error, UnknownToken):
                status = 403
        case _:
            status, message = 500, "a defect in Cenote; see the log of the API there"
            log.error("a request to join failed: %s", type(error).__name__, exc_info=error)
    return Response(msgspec.json.encode(Refused(message)), status)
