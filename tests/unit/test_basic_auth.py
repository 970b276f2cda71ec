"""The login for metrics, as it stands in a header."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from cenote.errors import Invalid, Misconfigured
from cenote.model.record import Secret
from cenote.model.records import MetricsLogin
from cenote.security import basic_auth
from cenote.security.basic_auth import BasicAuth
from cenote.security.sealing import Sealer

PASSWORD = "correct-horse"


@pytest.fixture
def sealer(tmp_path: Path) -> Sealer:
    return Sealer(tmp_path / "key")


Login = Callable[[str, str], MetricsLogin]


def login(sealer: Sealer, username: str = "prometheus", password: str = PASSWORD) -> MetricsLogin:
    """A login as earlier versions wrote it, without a verifier."""
    return MetricsLogin(username=username, sealed_password=sealer.seal(Secret(password)))


@pytest.fixture(params=["with a verifier", "without"])
def made(request: pytest.FixtureRequest, sealer: Sealer) -> Login:
    def make(username: str, password: str) -> MetricsLogin:
        made = login(sealer, username, password)
        with_verifier = request.param == "with a verifier"
        return replace(made, verifier=basic_auth.new_verifier(password)) if with_verifier else made

    return make


def header(username: str, password: str, kind: str = "Basic") -> bytes:
    return f"{kind} ".encode() + base64.b64encode(f"{username}:{password}".encode())


@pytest.mark.parametrize("kind", ["Basic", "basic", "BASIC"])
def test_the_login_is_admitted(sealer: Sealer, made: Login, kind: str) -> None:
    assert basic_auth.verify(header("prometheus", PASSWORD, kind), made("prometheus", PASSWORD), sealer)


def test_a_login_with_letters_of_any_kind_and_colons_in_the_password_is_admitted(
    sealer: Sealer, made: Login
) -> None:
    assert basic_auth.verify(header("Œdipe", "a:b:c:Ω"), made("Œdipe", "a:b:c:Ω"), sealer)


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
def test_whatever_else_is_shown_is_refused(sealer: Sealer, made: Login, shown: bytes | None) -> None:
    assert not basic_auth.verify(shown, made("prometheus", PASSWORD), sealer)


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


def test_a_verifier_needs_no_key_ring_and_hides_the_password(sealer: Sealer, tmp_path: Path) -> None:
    made = replace(login(sealer), verifier=basic_auth.new_verifier(PASSWORD))
    assert basic_auth.verify(header("prometheus", PASSWORD), made, Sealer(tmp_path / "another"))
    assert PASSWORD not in made.verifier
    assert made.verifier not in repr(made)
    assert made.verifier != basic_auth.new_verifier(PASSWORD)


def test_a_damaged_verifier_admits_nobody(sealer: Sealer) -> None:
    for verifier in ("x", "pbkdf2-sha256$1$zz$", "pbkdf2-sha256$0$00$00"):
        damaged = replace(login(sealer), verifier=verifier)
        with pytest.raises(Misconfigured, match="damaged"):
            basic_auth.verify(header("prometheus", PASSWORD), damaged, sealer)
    other_kind = replace(login(sealer), verifier=basic_auth.new_verifier(PASSWORD).replace("pbkdf2", "md5"))
    assert not basic_auth.verify(header("prometheus", PASSWORD), other_kind, sealer)


def test_who_was_admitted_is_refused_once_the_login_is_another(sealer: Sealer, made: Login) -> None:
    auth, shown = BasicAuth(), header("prometheus", PASSWORD)
    for _ in range(3):
        assert auth.admits(shown, made("prometheus", PASSWORD), sealer, "192.0.2.1")
        assert not auth.admits(shown, made("prometheus", "another-password"), sealer, "192.0.2.1")
        assert not auth.admits(header("prometheus", "x"), made("prometheus", PASSWORD), sealer, "192.0.2.1")
    kept = made("prometheus", PASSWORD)
    assert all(auth.admits(shown, kept, sealer, "192.0.2.2") for _ in range(20))
    assert not auth.admits(shown, None, sealer, "192.0.2.2")
