"""HTTP basic authentication (RFC 7617) with the credentials for metrics."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import secrets

from cenote.errors import Invalid, Misconfigured, TooManyRequests
from cenote.model.records import MetricsLogin
from cenote.security.sealing import Sealer
from cenote.security.throttle import WINDOW_SECONDS, Throttle

log = logging.getLogger(__name__)

_MAX_LENGTH = 255
_MIN_PASSWORD_LENGTH = 8  # characters of a password
ITERATIONS = 10_000
_VERIFIER = "pbkdf2-sha256"
CHALLENGE = (b"www-authenticate", b'Basic realm="Cenote metrics", charset="UTF-8"')


def check(username: str, password: str) -> None:
    """Raise Invalid for credentials that no client could send, or that are too easily guessed."""
    if not 1 <= len(username) <= _MAX_LENGTH or not username.isprintable() or ":" in username:
        raise Invalid(
            f"basic_auth_username: must be 1 to {_MAX_LENGTH} printable characters without a colon."
        )
    if not _MIN_PASSWORD_LENGTH <= len(password) <= _MAX_LENGTH or not password.isprintable():
        raise Invalid(
            f"basic_auth_password: must be {_MIN_PASSWORD_LENGTH} to {_MAX_LENGTH} printable characters."
        )


class BasicAuth:
    """Checks credentials, and throttles addresses whose attempts fail."""

    def __init__(self) -> None:
        self._throttle = Throttle()
        self._secret = secrets.token_bytes(32)
        self._admitted: tuple[MetricsLogin | None, bytes] = (None, b"")

    def admits(
        self, authorization: bytes | None, login: MetricsLogin | None, sealer: Sealer, address: str
    ) -> bool:
        """Return whether an ``Authorization`` header holds the right credentials.

        Raise TooManyRequests, even for right ones, after too many failures of the address in the last minute.
        """
        if not is_basic(authorization):
            return False
        if not self._throttle.allows(address):
            raise TooManyRequests(
                int(WINDOW_SECONDS), "Too many failed logins for metrics from your address."
            )
        # Each cluster is scraped all the time with the same header, and a verifier takes milliseconds.
        shown = hmac.digest(self._secret, authorization or b"", "sha256")
        known, before = self._admitted
        if known is not None and known == login and hmac.compare_digest(shown, before):
            return True
        if verify(authorization, login, sealer):
            self._admitted = login, shown
            return True
        self._throttle.record_failure(address)
        if not self._throttle.allows(address):
            log.warning("too many failed logins for metrics from %s; throttling", address)
        return False


def is_basic(authorization: bytes | None) -> bool:
    """Return whether an ``Authorization`` header uses the scheme Basic."""
    return (authorization or b"").partition(b" ")[0].lower() == b"basic"


def verify(authorization: bytes | None, login: MetricsLogin | None, sealer: Sealer) -> bool:
    """Return whether an ``Authorization`` header holds the right credentials, comparing in constant time."""
    if login is None or not is_basic(authorization):
        return False
    _, _, encoded = (authorization or b"").partition(b" ")
    try:
        sent = base64.b64decode(encoded.strip(), validate=True)
    except binascii.Error:
        return False
    if not login.verifier:  # a record of an earlier version
        expected = f"{login.username}:{sealer.open(login.sealed_password).reveal()}"
        return hmac.compare_digest(sent, expected.encode())
    username, _, password = sent.partition(b":")
    is_user = hmac.compare_digest(username, login.username.encode())
    return _proves(password, login.verifier) and is_user


def new_verifier(password: str) -> str:
    """Return what a password is checked with: PBKDF2 of it, with a salt."""
    salt = secrets.token_bytes(16)
    return f"{_VERIFIER}${ITERATIONS}${salt.hex()}${_derived(password.encode(), salt, ITERATIONS).hex()}"


def _proves(password: bytes, verifier: str) -> bool:
    try:
        kind, iterations, salt, derived = verifier.split("$")
        expected = bytes.fromhex(derived)
        found = _derived(password, bytes.fromhex(salt), int(iterations))
    except ValueError:
        raise Misconfigured("the verifier of the metrics login is damaged") from None
    return kind == _VERIFIER and hmac.compare_digest(found, expected)


def _derived(password: bytes, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", password, salt, iterations)
