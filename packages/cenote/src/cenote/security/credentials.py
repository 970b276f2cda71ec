"""New passwords as they are stored: sealed, for the API to show, and as SCRAM verifiers for the servers."""

from __future__ import annotations

import secrets
import string

from cenote.model.record import Secret
from cenote.model.records import MetricsLogin, User, UserRole
from cenote.security import basic_auth, scram
from cenote.security.sealing import Sealer

PREFIX = "cenote"  # recognizable to scanners for leaked secrets
LENGTH = 24  # random characters after the prefix; none needs escaping in a URI or a shell

_LETTERS = string.ascii_letters + string.digits


def new_user(name: str, sealer: Sealer, role: UserRole = UserRole.NORMAL) -> User:
    """Return a user with a new password."""
    password = _new_password()
    return User(
        name=name,
        verifier=scram.verifier(password),
        sealed_password=sealer.seal(Secret(password)),
        role=role,
    )


def new_metrics_login(sealer: Sealer) -> MetricsLogin:
    """Return new credentials for reading metrics."""
    return metrics_login("metrics", _new_password(), sealer)


def metrics_login(username: str, password: str, sealer: Sealer) -> MetricsLogin:
    """Return credentials for reading metrics as they are stored."""
    return MetricsLogin(
        username=username,
        sealed_password=sealer.seal(Secret(password)),
        verifier=basic_auth.new_verifier(password),
    )


def _new_password() -> str:
    return PREFIX + "".join(secrets.choice(_LETTERS) for _ in range(LENGTH))
