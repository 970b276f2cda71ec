"""Who is calling, and what the caller may do.

A token is known by the SHA-256 of its text, so the text can't be read out of the store.  Tokens are long and
random, which is why a plain digest is enough.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import uuid4

from cenote.errors import Forbidden, Invalid, Unauthenticated
from cenote.model.records import Secret, Token
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


def authenticate(store: Store, authorization: bytes | None, now: datetime) -> Caller:
    """Return who sends this ``Authorization`` header."""
    kind, _, text = (authorization or b"").partition(b" ")
    if kind.lower() != b"bearer":
        raise Unauthenticated
    token = store.token(hashlib.sha256(text.strip()).hexdigest())
    if token is None or (token.expires_at is not None and token.expires_at <= now):
        raise Unauthenticated
    return Caller(token)
