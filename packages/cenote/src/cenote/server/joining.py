"""Joins a fleet: the new host's side, in a short-lived process before anything else is started.

What nobody has proved yet is the fleet's CA certificate and its time: the first is compared with the hash in
the token, the second with this host's clock, and only then does this host speak TLS that is verified.  It
draws its id and its key itself and keeps them, so that it can ask again when the answer was lost.
``host.json`` is written last: with it, the host has joined.
"""

from __future__ import annotations

import http.client
import logging
import socket
import ssl
from datetime import UTC, datetime
from http import HTTPStatus
from uuid import UUID, uuid4

import msgspec

import cenote
from cenote.errors import Misconfigured
from cenote.host import files, fleet_files, identity
from cenote.host.identity import Identity
from cenote.model.fleet_records import ALL_ROLES, HostRole
from cenote.model.joining import (
    FLEET,
    JOIN,
    FleetAnswer,
    JoinAnswer,
    JoinRequest,
    Refused,
    skew_in_words,
)
from cenote.model.paths import Layout
from cenote.security import certificates, fleet_certificates, join_tokens
from cenote.security.join_tokens import JoinText
from cenote.server import store_access
from cenote.server.settings import ServeSettings

log = logging.getLogger(__name__)

ANSWER_SECONDS = 30.0
MOST_BYTES = 1 << 20  # of an answer


class _Attempt(msgspec.Struct, frozen=True):
    """A host that wants to join, with this token and this key, until it has."""

    id: UUID
    token: str  # its hash
    request: str


def join(layout: Layout, settings: ServeSettings) -> None:
    """Join the fleet of the token, unless this data directory has; Misconfigured, in words, if it may not."""
    assert settings.join is not None
    assert settings.address is not None
    text = join_tokens.parse(settings.join.reveal())
    known = identity.read(layout)
    if known is not None or layout.hosted():
        _check_is_same(layout, known, text)
        return
    authority = _authority(text)
    attempt = _attempt(layout, text)
    name = settings.name or socket.gethostname()
    answer = _ask(
        text,
        authority,
        JoinRequest(
            secret=text.secret.reveal(),
            id=attempt.id,
            name=name,
            address=settings.address,
            port=settings.fleet_port,
            request=attempt.request,
            roles=settings.roles,
            zone=settings.zone,
            now=datetime.now(UTC),
            version=cenote.__version__,
        ),
    )
    _settle(layout, answer, Identity(id=attempt.id, name=name, store=answer.store_id, roles=answer.roles))
    log.info("this host has joined as %s, with the roles %s", name, ", ".join(answer.roles))


def roles(layout: Layout, settings: ServeSettings) -> tuple[HostRole, ...]:
    """Return the roles of this host; Misconfigured for others than those that it has joined with.

    A host with the role api may take and give up further ones by itself, since it signs the certificates.
    """
    identity.forget_empty(layout)
    known = identity.read(layout)
    if known is None:
        certified = fleet_certificates.roles_of(fleet_files.names(layout))  # host.json was lost
        return settings.roles or tuple(sorted(certified)) or ALL_ROLES
    if settings.roles and settings.roles != known.roles and HostRole.API not in known.roles:
        raise Misconfigured(
            f"this host has joined with the roles {', '.join(known.roles)}; to change them, drain and remove "
            "it with 'cenote host', and join again with another data directory"
        )
    if settings.roles and HostRole.API not in settings.roles and HostRole.API in known.roles:
        raise Misconfigured(
            "this host has the role api, and cannot give it up: it has the keys of the service; drain and "
            "remove it with 'cenote host', and join again with another data directory and --roles"
        )
    return settings.roles or known.roles


def check_address(layout: Layout, settings: ServeSettings) -> None:
    """Refuse to start a host that has joined as one that stands alone."""
    if settings.address is None and layout.store_access.exists():
        raise Misconfigured(
            f"{layout.data_dir} is that of a host that has joined others; give --address again, where they "
            "reach it"
        )


def _check_is_same(layout: Layout, known: Identity | None, text: JoinText) -> None:
    """Accept a data directory that belongs to the fleet of the token; Misconfigured for every other."""
    authority = (files.read(layout.fleet_authority) or b"").decode("ascii", "replace")
    has_joined = bool(authority) and known is not None and known.store is not None
    if has_joined and fleet_certificates.authority_digest(authority) == text.fingerprint:
        return
    store = "" if known is None or known.store is None else f" (store {known.store})"
    raise Misconfigured(
        f"{layout.data_dir} belongs to another service already{store}, whose clusters and keys are in it; "
        "give a new --data-dir to join as a new host, or leave out --join"
    )


def _authority(text: JoinText) -> str:
    """Return the fleet's CA certificate, whose hash is in the token, once the clocks agree."""
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    status, body = _call(text, unverified, "GET", FLEET)
    try:
        if status != HTTPStatus.OK:
            raise ValueError(f"its answer has the status {status}")
        found = msgspec.json.decode(body, type=FleetAnswer)
        digest = fleet_certificates.authority_digest(found.certificate)
    except (ValueError, msgspec.DecodeError) as error:
        raise Misconfigured(
            f"{text.place} is not the port of a Cenote fleet for new hosts: {error}"
        ) from None
    if digest != text.fingerprint:
        raise Misconfigured(
            f"the host at {text.place} shows a CA with another hash than that in the token "
            f"({digest[:12]}… instead of {text.fingerprint[:12]}…): it is another fleet, or somebody stands "
            "between; nothing was sent to it"
        )
    there = found.now
    skew = skew_in_words(there)
    if skew:
        raise Misconfigured(
            f"this host's clock is {skew} that of {text.place} ({datetime.now(UTC):%Y-%m-%d %H:%M:%S} here, "
            f"{there:%Y-%m-%d %H:%M:%S} UTC there); set it, such as by NTP (chrony, systemd-timesyncd), and "
            "try again"
        )
    return found.certificate


def _attempt(layout: Layout, text: JoinText) -> _Attempt:
    """Return id and request of this host, as in an earlier attempt with the same token."""
    fleet_files.make_folder(layout)
    content = files.read(layout.fleet_attempt)
    if content:
        try:
            found = msgspec.json.decode(content, type=_Attempt)
            if found.token == text.digest and files.read(layout.fleet_key):
                return found
        except msgspec.DecodeError:
            pass  # half of a file, as a power failure may leave it
    key, request = certificates.new_request()
    made = _Attempt(uuid4(), text.digest, request)
    files.write(layout.fleet_key, key.encode(), 0o600, None)
    files.write(layout.fleet_attempt, msgspec.json.encode(made), 0o600, None)
    return made


def _ask(text: JoinText, authority: str, request: JoinRequest) -> JoinAnswer:
    verified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    verified.minimum_version = ssl.TLSVersion.TLSv1_3
    verified.load_verify_locations(cadata=authority)
    status, body = _call(text, verified, "POST", JOIN, msgspec.json.encode(request))
    try:
        if status == HTTPStatus.OK:
            return msgspec.json.decode(body, type=JoinAnswer)
        why = msgspec.json.decode(body, type=Refused).message
    except msgspec.DecodeError:
        why = f"its answer, with the status {status}, cannot be read; is Cenote there of another version?"
    raise Misconfigured(f"the fleet at {text.place} does not let this host in: {why}")


class _Connection(http.client.HTTPSConnection):
    """A connection to a host with the role api; another one, at whatever address, is told no secret."""

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        name = fleet_certificates.role_name(HostRole.API)
        self.sock = self._context.wrap_socket(self.sock, server_hostname=name)  # type: ignore[attr-defined]


def _call(
    text: JoinText, context: ssl.SSLContext, method: str, path: str, body: bytes | None = None
) -> tuple[int, bytes]:
    """Return status and body of an answer; Misconfigured if there is none."""
    connection = _Connection(text.address, text.port, timeout=ANSWER_SECONDS, context=context)
    try:
        connection.request(method, path, body, {"content-type": "application/json"} if body else {})
        response = connection.getresponse()
        return response.status, response.read(MOST_BYTES)
    except ssl.SSLCertVerificationError as error:
        raise Misconfigured(
            f"the host at {text.place} does not prove that it is of the fleet: {error.verify_message}"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Misconfigured(
            f"the fleet cannot be reached at {text.place}: {why}; does 'cenote serve' run there, and is the "
            "port open to this host?"
        ) from None
    finally:
        connection.close()


def _settle(layout: Layout, answer: JoinAnswer, known: Identity) -> None:
    """Write down all that makes this host one of the fleet; its identity last."""
    key = files.read(layout.fleet_key)
    assert key is not None
    fleet_files.write(layout, key.decode(), answer.certificate, answer.authority)
    for folder in (layout.keys, layout.api) if answer.api_keys else (layout.keys,):
        folder.mkdir(mode=0o700, exist_ok=True)
    private = [(layout.host_keys, answer.host_keys)]
    if HostRole.API in answer.roles:
        private.append((layout.api_sealing_key, answer.api_keys))
        if answer.api_authority_key:
            private.append((layout.authority_key, answer.api_authority_key))
            files.write(layout.authority, answer.api_authority.encode(), 0o644, None)
    for path, content in private:
        files.write(path, content.encode(), 0o600, None)
    store_access.write(layout, answer.store)
    identity.write(layout, known)
    layout.fleet_attempt.unlink(missing_ok=True)
