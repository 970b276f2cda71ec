"""Who is calling, and what the caller may do.

A token is known by the SHA-256 of its text, so the text can't be read out of the store.  Tokens are long and
random, which is why a plain digest is enough.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import uuid4

from cenote.errors import Forbidden, Invalid, Unauthenticated
from cenote.model.records import Secret, Token
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


def mint(name: str, scopes: Iterable[str], expires_at: datetime | None = None) -> tuple[Secret, Token]:
    """Return a new token: its text, which is shown once and kept nowhere, and the record for the store.

    ``store.add_token(digest(secret.reveal()), token)`` makes it good.
    """
    wanted = frozenset(scopes)
    unknown = sorted(wanted.difference(SCOPES))
    if unknown:
        raise Invalid(f"scopes: {unknown[0]!a} is not a scope; there are {', '.join(SCOPES)}.")
    if not wanted:
        raise Invalid(f"scopes: a token needs at least one of {', '.join(SCOPES)}.")
    token = Token(
        id=uuid4(),
        name=name,
        scopes=wanted,
        created_at=datetime.now(UTC).replace(microsecond=0),
        expires_at=expires_at,
    )
    return Secret(PREFIX + secrets.token_hex(32)), token


class Caller:
    """The holder of a good token."""

    __slots__ = ("_all", "_scopes", "sees_credentials", "token")

    def __init__(self, token: Token) -> None:
        self.token = token
        self._scopes = token.scopes
        self._all = EVERYTHING in token.scopes
        self.sees_credentials = self._all or VIEW_CREDENTIALS in token.scopes

    def require(self, scope: str) -> None:
        if not self._all and scope not in self._scopes:
            raise Forbidden(f"The token lacks the scope {scope}.")


def authenticate(store: Store, authorization: bytes | None) -> Caller:
    """Return who sends this ``Authorization`` header."""
    sha256_hex = _digest_of(authorization)
    token = None if sha256_hex is None else store.token(sha256_hex)
    if token is None or (token.expires_at is not None and token.expires_at <= datetime.now(UTC)):
        raise Unauthenticated
    return Caller(token)


class UnknownTokens:
    """Asks etcd for tokens that the cache does not know, since another service may just have made them.

    Only for texts that could be tokens, and only a few times a minute for each address.
    """

    def __init__(self) -> None:
        self._throttle = Throttle()

    async def confirm(self, store: Store, authorization: bytes | None, address: str) -> bool:
        """Return whether etcd has a token that the cache did not have; from then on it has."""
        sha256_hex = _digest_of(authorization, _TOKEN)
        if sha256_hex is None or store.token(sha256_hex) or not self._throttle.allows(address):
            return False
        self._throttle.record_failure(address)
        return await store.confirm_token(sha256_hex)


def _digest_of(authorization: bytes | None, form: re.Pattern[bytes] | None = None) -> str | None:
    """Return the digest of the token in a header; None when there is none, or not of this form."""
    kind, _, text = (authorization or b"").partition(b" ")
    text = text.strip()
    if kind.lower() != b"bearer" or (form is not None and not form.fullmatch(text)):
        return None
    return hashlib.sha256(text).hexdigest()
