"""Authentication and authorization: API tokens and their scopes.

The store has only the SHA-256 digest of a token.  Tokens are long and random, so it needs no salt.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import uuid4

from cenote.errors import Forbidden, Invalid, Unauthenticated
from cenote.model.record import Secret
from cenote.model.records import Token
from cenote.security.throttle import Throttle
from cenote.store import Store

READ = "database:read"
CREATE = "database:create"
UPDATE = "database:update"
DELETE = "database:delete"
VIEW_CREDENTIALS = "database:view_credentials"
ADMIN = "cenote:admin"
EVERYTHING = "*"
SCOPES = (READ, CREATE, UPDATE, DELETE, VIEW_CREDENTIALS, ADMIN, EVERYTHING)

PREFIX = "cenote_v1_"
_TOKEN = re.compile(PREFIX.encode() + b"[0-9a-f]{64}")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def is_whole(text: str) -> bool:
    """Return whether a text has the form of the tokens that are minted here."""
    return _TOKEN.fullmatch(text.encode("utf-8", "surrogateescape")) is not None


def mint(name: str, scopes: Iterable[str], expires_at: datetime | None = None) -> tuple[Secret, Token]:
    """Return a new token: its text, which is shown once and never stored, and its record.

    ``store.add_token(digest(secret.reveal()), token)`` makes it valid.
    """
    requested = frozenset(scopes)
    unknown = sorted(requested.difference(SCOPES))
    if unknown:
        raise Invalid(f"scopes: {unknown[0]!a} is not a scope; there are {', '.join(SCOPES)}.")
    if not requested:
        raise Invalid(f"scopes: a token needs at least one of {', '.join(SCOPES)}.")
    token = Token(
        id=uuid4(),
        name=name,
        scopes=requested,
        created_at=datetime.now(UTC).replace(microsecond=0),
        expires_at=expires_at,
    )
    return Secret(PREFIX + secrets.token_hex(32)), token


class Caller:
    """An authenticated caller and the scopes of its token."""

    __slots__ = ("_all", "_scopes", "sees_credentials", "token")

    def __init__(self, token: Token) -> None:
        self.token = token
        self._scopes = token.scopes
        self._all = EVERYTHING in token.scopes
        self.sees_credentials = self._all or VIEW_CREDENTIALS in token.scopes

    def may(self, scope: str) -> bool:
        return self._all or scope in self._scopes

    def require(self, scope: str) -> None:
        if not self.may(scope):
            raise Forbidden(f"The token lacks the scope {scope}.")


def authenticate(store: Store, authorization: bytes | None) -> Caller:
    """Return the caller of an ``Authorization`` header; Unauthenticated without a valid token."""
    sha256_hex = _digest_of(authorization)
    token = None if sha256_hex is None else store.token(sha256_hex)
    if token is None or (token.expires_at is not None and token.expires_at <= datetime.now(UTC)):
        raise Unauthenticated
    return Caller(token)


class UnknownTokens:
    """Looks up tokens in etcd that the cache does not have, as another service may just have created them.

    Only well-formed tokens are looked up, and only a few per minute and address.
    """

    def __init__(self) -> None:
        self._throttle = Throttle()

    async def confirm(self, store: Store, authorization: bytes | None, address: str) -> bool:
        """Return whether etcd has a token that the cache lacked; it is in the cache afterwards."""
        sha256_hex = _digest_of(authorization, _TOKEN)
        if sha256_hex is None or store.token(sha256_hex) or not self._throttle.allows(address):
            return False
        self._throttle.record_failure(address)
        return await store.confirm_token(sha256_hex)


def _digest_of(authorization: bytes | None, form: re.Pattern[bytes] | None = None) -> str | None:
    """Return the digest of the bearer token in a header; None without one, or if it is not of this form."""
    kind, _, text = (authorization or b"").partition(b" ")
    text = text.strip()
    if kind.lower() != b"bearer" or (form is not None and not form.fullmatch(text)):
        return None
    return hashlib.sha256(text).hexdigest()
