"""Decides whether a host may join, and admits it: by one transaction that takes its token away.

The host may ask again when the answer was lost: its token is then the one that it was admitted with, and its
request is signed by the same key.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cenote.errors import CenoteError, Conflict, Forbidden, Invalid, Unavailable
from cenote.model.event_records import Note
from cenote.model.fleet_records import AdmittedHost, HostRole, JoinToken
from cenote.model.joining import JoinAnswer, JoinRequest, StoreAccess, skew_in_words
from cenote.security import certificates, fleet_certificates, join_tokens, sealing_keys
from cenote.security.sealing import Rings
from cenote.store import Store, registration

ATTEMPTS = 5
ANOTHER = "create another with 'cenote host token' on a host of the fleet"


class UnknownToken(Forbidden):
    """A token that may have been guessed."""


class StoreDoor(Protocol):
    """What lets a new host in to the store."""

    async def open_to(self, host_id: str, host: AdmittedHost) -> StoreAccess:
        """Make the logins of a host, or give them new passwords, and say how it reaches the store."""
        ...

    async def close(self) -> None: ...


class HostAdmission:
    """``authority`` are certificate and key of the API's CA, which hosts with the role api share."""

    def __init__(
        self,
        store: Store,
        store_id: UUID,
        rings: Rings,
        door: StoreDoor,
        authority: tuple[str, str] = ("", ""),
    ) -> None:
        self._store, self._store_id, self._rings = store, store_id, rings
        self._door, self._authority = door, authority

    async def admit(self, asked: JoinRequest, source: str) -> JoinAnswer:
        """Admit a host and return what it needs; a CenoteError says in words why it is refused."""
        skew = skew_in_words(datetime.now(UTC), asked.now)
        if skew:
            raise Invalid(f"its clock is {skew} that of the fleet; set it, such as by NTP, and try again")
        key = _key_of(asked.request)
        digest = join_tokens.digest(asked.secret)
        id, joining = str(asked.id), self._store.joining
        for _ in range(ATTEMPTS):
            await joining.refresh()
            known = joining.admitted().get(id)
            if known is not None:
                if (known.token, known.key) == (digest, key):
                    return await self._answer(asked, known)
                raise Conflict(f"a host with the id {id} has joined before; choose a new --data-dir")
            token = joining.token(digest)
            if token is None:
                raise self._without_token(digest)
            host = _checked(asked, token, digest, key)
            self._check_place(asked)
            holder = await registration.free_claim(self._store, asked.name, id)
            note = Note(what=f"host {asked.name} joined", address=source)
            if await joining.admit(id, host, holder, note):
                return await self._answer(asked, host)
        raise Unavailable("others change the fleet all the time; try again")

    def _without_token(self, digest: str) -> CenoteError:
        hosts = self._store.joining.admitted().values()
        used = next((host for host in hosts if host.token == digest), None)
        if used is not None:
            return Forbidden(f"the token was used already, by the host {used.name}; {ANOTHER}")
        return UnknownToken(f"the token is not known: it was removed, or is mistyped; {ANOTHER}")

    def _check_place(self, asked: JoinRequest) -> None:
        """Refuse an address at which another host of the fleet is reached."""
        for id, host in self._store.joining.admitted().items():
            if id != str(asked.id) and (host.address, host.port) == (asked.address, asked.port):
                raise Conflict(
                    f"the host {host.name} of the fleet has the address {host.address} with the fleet port "
                    f"{host.port}; give this host's own with --address and --fleet-port, or remove the other"
                )

    async def close(self) -> None:
        await self._door.close()

    async def _answer(self, asked: JoinRequest, host: AdmittedHost) -> JoinAnswer:
        authority = self._store.joining.authority()
        if authority is None:
            raise Unavailable("the fleet has no CA yet; try again")
        names = fleet_certificates.names_of_host(str(asked.id), host.address, host.roles)
        ca_key = self._rings.api.open(authority.sealed_key).reveal()
        is_api = HostRole.API in host.roles
        return JoinAnswer(
            store_id=self._store_id,
            roles=host.roles,
            certificate=fleet_certificates.sign(authority.certificate, ca_key, asked.request, names),
            authority=authority.certificate,
            store=await self._door.open_to(str(asked.id), host),
            host_keys=sealing_keys.text(self._rings.host.keys),
            api_keys=sealing_keys.text(self._rings.api.keys) if is_api else "",
            api_authority=self._authority[0] if is_api else "",
            api_authority_key=self._authority[1] if is_api else "",
        )


def _checked(asked: JoinRequest, token: JoinToken, digest: str, key: str) -> AdmittedHost:
    if not fleet_certificates.is_usable_address(asked.address):
        raise Invalid(f"{asked.address} cannot be the address of a host; give another one with --address")
    now = datetime.now(UTC).replace(microsecond=0)
    if token.expires_at <= now:
        raise Forbidden(f"the token has expired at {token.expires_at:%Y-%m-%d %H:%M} UTC; {ANOTHER}")
    wrong = sorted(set(asked.roles) - set(token.roles))
    if wrong:
        raise Forbidden(
            f"the token is for the roles {', '.join(token.roles)}, and this host is to have "
            f"{', '.join(wrong)}, too; give --roles accordingly, or {ANOTHER} --roles …"
        )
    return AdmittedHost(
        name=asked.name,
        address=asked.address,
        roles=tuple(sorted(asked.roles or token.roles)),
        at=now,
        zone=asked.zone,
        port=asked.port,
        token=digest,
        key=key,
    )


def _key_of(request: str) -> str:
    """Return the hash of the public key that a certificate request is for, and is signed by."""
    try:
        key = certificates.key_of_request(request)
    except (ValueError, UnsupportedAlgorithm):
        raise Invalid("its certificate request is malformed") from None
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
