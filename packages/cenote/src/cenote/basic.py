"""HTTP's basic authentication against the login for metrics (RFC 7617)."""

from __future__ import annotations

import base64
import binascii
import hmac

from cenote.domain import MetricsLogin
from cenote.errors import Invalid
from cenote.store import Sealer

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


def admits(authorization: bytes | None, login: MetricsLogin | None, sealer: Sealer) -> bool:
    """Return whether an ``Authorization`` header shows the login; the time that takes tells nothing of it."""
    kind, _, encoded = (authorization or b"").partition(b" ")
    if login is None or kind.lower() != b"basic":
        return False
    try:
        shown = base64.b64decode(encoded.strip(), validate=True)
    except binascii.Error:
        return False
    expected = f"{login.username}:{sealer.open(login.sealed_password).reveal()}"
    return hmac.compare_digest(shown, expected.encode())
