"""HTTP basic authentication (RFC 7617) with the credentials for metrics."""

from __future__ import annotations

import base64
import binascii
import hmac
import logging

from cenote.errors import Invalid, TooManyRequests
from cenote.model.records import MetricsLogin
from cenote.security.sealing import Sealer
from cenote.security.throttle import WINDOW_SECONDS, Throttle

log = logging.getLogger(__name__)

_MAX_LENGTH = 255
_MIN_PASSWORD_LENGTH = 8  # characters of a password
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
        if verify(authorization, login, sealer):
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
    expected = f"{login.username}:{sealer.open(login.sealed_password).reveal()}"
    return hmac.compare_digest(sent, expected.encode())
