"""The login for metrics, as it stands in a header."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from cenote.errors import Invalid
from cenote.model.records import MetricsLogin, Secret
from cenote.security import basic_auth
from cenote.security.sealing import Sealer

PASSWORD = "correct-horse"


@pytest.fixture
def sealer(tmp_path: Path) -> Sealer:
    return Sealer(tmp_path / "key")


def login(sealer: Sealer, username: str = "prometheus", password: str = PASSWORD) -> MetricsLogin:
    return MetricsLogin(username=username, sealed_password=sealer.seal(Secret(password)))


def header(username: str, password: str, kind: str = "Basic") -> bytes:
    return f"{kind} ".encode() + base64.b64encode(f"{username}:{password}".encode())


@pytest.mark.parametrize("kind", ["Basic", "basic", "BASIC"])
def test_the_login_is_admitted(sealer: Sealer, kind: str) -> None:
    assert basic_auth.verify(header("prometheus", PASSWORD, kind), login(sealer), sealer)


def test_a_login_with_letters_of_any_kind_and_colons_in_the_password_is_admitted(sealer: Sealer) -> None:
    assert basic_auth.verify(header("Œdipe", "a:b:c:Ω"), login(sealer, "Œdipe", "a:b:c:Ω"), sealer)


@pytest.mark.parametrize(
    "shown",
    [
        None,
        b"",
        b"Basic",
        b"Basic ",
        b"Basic !!!",
        b"Basic cHJvbWV0aGV1cw==",
        header("prometheus", ""),
        header("prometheus", PASSWORD + "x"),
        header("prometheus", PASSWORD[:-1]),
        header("Prometheus", PASSWORD),
        header("", PASSWORD),
        header("prometheus", PASSWORD, "Bearer"),
        b"Basic \xff\xfe",
    ],
)
def test_whatever_else_is_shown_is_refused(sealer: Sealer, shown: bytes | None) -> None:
    assert not basic_auth.verify(shown, login(sealer), sealer)


def test_before_there_is_a_login_nobody_is_admitted(sealer: Sealer) -> None:
    assert not basic_auth.verify(header("", ""), None, sealer)
    assert not basic_auth.verify(None, None, sealer)


@pytest.mark.parametrize(
    ("username", "password", "field"),
    [
        ("", PASSWORD, "basic_auth_username"),
        ("a:b", PASSWORD, "basic_auth_username"),
        ("a\nb", PASSWORD, "basic_auth_username"),
        ("a" * 256, PASSWORD, "basic_auth_username"),
        ("a", "seven77", "basic_auth_password"),
        ("a", "eight\0oo", "basic_auth_password"),
        ("a", "x" * 256, "basic_auth_password"),
    ],
)
def test_what_no_client_could_send_or_is_guessed_is_refused(username: str, password: str, field: str) -> None:
    with pytest.raises(Invalid, match=field):
        basic_auth.check(username, password)


def test_the_sealed_password_does_not_show_itself(sealer: Sealer) -> None:
    assert login(sealer).sealed_password not in repr(login(sealer))
