"""HTTP's basic authentication against the login for metrics (RFC 7617)."""

from __future__ import annotations

import base64
import binascii
import hmac
import logging

from cenote.errors import Invalid, TooManyRequests
from cenote.model.records import MetricsLogin
from cenote.security.sealing import Sealer
from cenote.security.throttle import SECONDS, Throttle

log = logging.getLogger(__name__)

_LONGEST = 255
_LEAST = 8  # characters of a password
CHALLENGE = (b"www-authenticate", b'Basic realm="Cenote metrics", charset="UTF-8"')


def check(username: str, password: str) -> None:
    """Raise Invalid for a login that no client could send, or that is guessed too easily."""
    if not 1 <= len(username) <= _LONGEST or not username.isprintable() or ":" in username:
        raise Invalid(
            f"basic_auth_username: a name has 1 to {_LONGEST} printable characters, and no colon among them."
        )
    if not _LEAST <= len(password) <= _LONGEST or not password.isprintable():
        raise Invalid(f"basic_auth_password: a password has {_LEAST} to {_LONGEST} printable characters.")


class BasicAuth:
    """Judges who shows a login, and lets an address be wrong only so often."""

    def __init__(self) -> None:
        self._patience = Throttle()

    def admits(
        self, authorization: bytes | None, login: MetricsLogin | None, sealer: Sealer, address: str
    ) -> bool:
        """Return whether an ``Authorization`` header shows the login.

        Raise TooManyRequests, whatever it shows, for an address that was wrong too often in the last minute.
        """
        if not is_shown(authorization):
            return False
        if not self._patience.has_some(address):
            raise TooManyRequests(int(SECONDS), "Too many wrong logins for metrics from your address.")
        if admits(authorization, login, sealer):
            return True
        self._patience.lose(address)
        if not self._patience.has_some(address):
            log.warning("%s has shown too many wrong logins for metrics, and has to wait", address)
        return False


def is_shown(authorization: bytes | None) -> bool:
    """Return whether an ``Authorization`` header is of this kind."""
    return (authorization or b"").partition(b" ")[0].lower() == b"basic"


def admits(authorization: bytes | None, login: MetricsLogin | None, sealer: Sealer) -> bool:
    """Return whether an ``Authorization`` header shows the login; the time that takes tells nothing of it."""
    if login is None or not is_shown(authorization):
        return False
    _, _, encoded = (authorization or b"").partition(b" ")
    try:
        shown = base64.b64decode(encoded.strip(), validate=True)
    except binascii.Error:
        return False
    expected = f"{login.username}:{sealer.open(login.sealed_password).reveal()}"
    return hmac.compare_digest(shown, expected.encode())
