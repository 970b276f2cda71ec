"""Sessions: a cookie that contains the sealed API token, and anti-forgery tokens bound to it.

The service stores no sessions.  Only the service can read the token in a cookie, and the API authenticates
that token with each request, so that revoking it ends the session at once.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
import time
from collections.abc import Callable

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SECONDS = 12 * 3600  # that a session lasts
NOTICE_SECONDS = 60  # that a notice waits for the next page

# With this prefix browsers accept a cookie only from this host, over TLS, and for all its paths.
SESSION = "__Host-cenote"
SIGN_IN = "__Host-cenote-sign-in"  # binds the sign-in form to its browser
NOTICE = "__Host-cenote-notice"

_NONCE_BYTES = 12


class ConsoleSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session; ``id`` is random, ``ends`` is in seconds of the Unix epoch."""

    id: str
    token: str
    name: str
    scopes: frozenset[str]
    ends: float

    def __repr__(self) -> str:
        return f"ConsoleSession(name={self.name!r})"


class Seals:
    """Seals cookies and signs form tokens, with keys derived from the service's current key.

    That key is asked for at each use: with its rotation all sessions end.
    """

    def __init__(self, key: Callable[[], bytes]) -> None:
        self._key = key

    @property
    def _cipher(self) -> AESGCM:
        return AESGCM(_derived(self._key(), b"cenote console cookies v1"))

    @property
    def _forms(self) -> bytes:
        return _derived(self._key(), b"cenote console forms v1")

    def seal(self, kind: str, plain: bytes) -> str:
        """Return the value of a cookie, which opens only as the same kind of cookie."""
        nonce = os.urandom(_NONCE_BYTES)
        return base64.urlsafe_b64encode(nonce + self._cipher.encrypt(nonce, plain, kind.encode())).decode()

    def open(self, kind: str, sealed: str) -> bytes | None:
        """Return what was sealed as this kind; None for anything else."""
        try:
            binary = base64.b64decode(sealed, altchars=b"-_", validate=True)
            return self._cipher.decrypt(binary[:_NONCE_BYTES], binary[_NONCE_BYTES:], kind.encode())
        except (binascii.Error, InvalidTag, ValueError):
            return None

    def session(self, cookie: str) -> ConsoleSession | None:
        """Return the session in a cookie, None if it has expired."""
        plain = self.open(SESSION, cookie)
        if plain is None:
            return None
        try:
            session = msgspec.json.decode(plain, type=ConsoleSession)
        except msgspec.DecodeError:  # sealed by a version of the service with other fields
            return None
        return session if time.time() < session.ends else None

    def form_token(self, id: str) -> str:
        """Return the anti-forgery token of this session's forms."""
        return hmac.digest(self._forms, id.encode(), "sha256").hex()

    def is_form_token(self, id: str, given: str) -> bool:
        return hmac.compare_digest(self.form_token(id).encode(), given.encode("utf-8", "replace"))


def new_id() -> str:
    return secrets.token_urlsafe(16)


def cookie(name: str, value: str, seconds: int) -> tuple[str, str]:
    """Return the header that sets a cookie; 0 seconds delete it."""
    return (
        "set-cookie",
        f"{name}={value}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={seconds}",
    )


def _derived(key: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=purpose).derive(key)
