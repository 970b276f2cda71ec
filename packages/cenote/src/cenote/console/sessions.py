"""Who is signed in: a cookie that holds the token sealed, and the tokens of forms that are bound to it.

The service keeps no table of sessions.  Nobody but the service can read the token out of a cookie, and the
API judges that token with every request, so that revoking it ends the session at once.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
import time

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SECONDS = 12 * 3600  # how long somebody stays signed in
SAID_SECONDS = 60  # how long what was done is kept, to be said on the next page

# The prefix makes a browser take such a cookie only from this host, over TLS, for the whole of it.
SESSION = "__Host-cenote"
VISIT = "__Host-cenote-visit"  # binds the form of somebody who has not signed in yet
SAID = "__Host-cenote-said"

_NONCE_BYTES = 12


class ConsoleSession(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who is signed in.  ``id`` is random, ``ends`` in seconds of the epoch."""

    id: str
    token: str
    name: str
    scopes: frozenset[str]
    ends: float

    def __repr__(self) -> str:
        return f"Session(name={self.name!r})"


class Seals:
    """What the console seals and signs with; the keys are derived from one of the service's."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(_derived(key, b"cenote console cookies v1"))
        self._forms = _derived(key, b"cenote console forms v1")

    def seal(self, kind: str, plain: bytes) -> str:
        """Return a cookie's value; it opens as the same kind of cookie only."""
        nonce = os.urandom(_NONCE_BYTES)
        return base64.urlsafe_b64encode(nonce + self._cipher.encrypt(nonce, plain, kind.encode())).decode()

    def open(self, kind: str, sealed: str) -> bytes | None:
        """Return what was sealed; None for whatever was not sealed here as this kind."""
        try:
            binary = base64.b64decode(sealed, altchars=b"-_", validate=True)
            return self._cipher.decrypt(binary[:_NONCE_BYTES], binary[_NONCE_BYTES:], kind.encode())
        except (binascii.Error, InvalidTag, ValueError):
            return None

    def session(self, cookie: str) -> ConsoleSession | None:
        """Return the session in a cookie, unless it is over."""
        plain = self.open(SESSION, cookie)
        if plain is None:
            return None
        try:
            session = msgspec.json.decode(plain, type=ConsoleSession)
        except msgspec.DecodeError:  # sealed by another version of the service, whose sessions were others
            return None
        return session if time.time() < session.ends else None

    def form_token(self, id: str) -> str:
        """Return what forms have to bring along that a page of this session has made."""
        return hmac.digest(self._forms, id.encode(), "sha256").hex()

    def made_form(self, id: str, given: str) -> bool:
        return hmac.compare_digest(self.form_token(id).encode(), given.encode("utf-8", "replace"))


def new_id() -> str:
    return secrets.token_urlsafe(16)


def cookie(name: str, value: str, seconds: int) -> tuple[str, str]:
    """Return the header that sets a cookie; one of 0 seconds takes it away."""
    return (
        "set-cookie",
        f"{name}={value}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={seconds}",
    )


def _derived(key: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=purpose).derive(key)
