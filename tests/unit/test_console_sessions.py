"""What the console seals and signs."""

from __future__ import annotations

import time
from dataclasses import replace
from urllib.parse import unquote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.console import sessions
from cenote.console.connection_details import HIDDEN, texts
from cenote.console.rendering import Templates, assets
from cenote.console.sessions import NOTICE, SESSION, SIGN_IN, ConsoleSession, Seals
from cenote.model import connection_formats
from cenote.model.connection_formats import Target
from cenote.security.throttle import MAX_ADDRESSES, MAX_FAILURES, Throttle

SEALS = Seals(lambda: b"k" * 32)
TOKEN = "cenote_v1_" + "5e" * 32


def session(ends: float) -> ConsoleSession:
    return ConsoleSession(id="one", token=TOKEN, name="ci", scopes=frozenset({"*"}), ends=ends)


def sealed(one: ConsoleSession, seals: Seals = SEALS) -> str:
    return seals.seal(SESSION, msgspec.json.encode(one))


# -- Cookies


def test_a_session_comes_back_as_it_was_and_hides_its_token() -> None:
    one = session(time.time() + 60)
    cookie = sealed(one)
    assert SEALS.session(cookie) == one
    assert TOKEN not in cookie
    assert TOKEN not in repr(one)


def test_a_session_that_is_over_is_none() -> None:
    assert SEALS.session(sealed(session(time.time() - 1))) is None


@pytest.mark.parametrize("plain", [b"", b"{}", b'{"id": "one", "ends": "later"}'])
def test_a_session_of_another_version_is_none(plain: bytes) -> None:
    assert SEALS.session(SEALS.seal(SESSION, plain)) is None


@pytest.mark.parametrize("kind", [SIGN_IN, NOTICE])
def test_what_was_sealed_as_another_kind_of_cookie_is_no_session(kind: str) -> None:
    one = msgspec.json.encode(session(time.time() + 60))
    assert SEALS.session(SEALS.seal(kind, one)) is None


def test_another_key_opens_nothing() -> None:
    assert Seals(lambda: b"l" * 32).session(sealed(session(time.time() + 60))) is None


@given(st.text())
def test_no_text_is_a_session_by_chance(text: str) -> None:
    assert SEALS.session(text) is None


def test_a_cookie_in_another_spelling_of_its_bytes_is_still_one_or_none() -> None:
    one = session(time.time() + 60)
    cookie = sealed(one)
    for other in (cookie + "=", cookie.rstrip("="), cookie + "!", " " + cookie):
        assert SEALS.session(other) in (one, None)


# -- Forms


@given(st.text(min_size=1), st.text())
def test_the_token_of_a_form_is_good_for_its_own_session_only(id: str, other: str) -> None:
    assert SEALS.is_form_token(id, SEALS.form_token(id))
    assert SEALS.is_form_token(other, SEALS.form_token(id)) == (other == id)
    assert not SEALS.is_form_token(id, other)


def test_a_form_token_does_not_come_from_the_key_of_the_cookies() -> None:
    assert Seals(lambda: b"l" * 32).form_token("one") != SEALS.form_token("one")


# -- Throttling


def test_one_address_is_throttled_and_others_are_not() -> None:
    throttle = Throttle()
    for _ in range(MAX_FAILURES):
        assert throttle.allows("192.0.2.1")
        throttle.record_failure("192.0.2.1")
    assert not throttle.allows("192.0.2.1")
    assert throttle.allows("192.0.2.2")


def test_many_addresses_take_no_more_memory() -> None:
    throttle = Throttle()
    for number in range(MAX_ADDRESSES + 10):
        throttle.record_failure(str(number))
    assert len(throttle._failures) == MAX_ADDRESSES


# -- Templates


def test_text_is_escaped_and_a_name_that_is_not_there_fails() -> None:
    pages = Templates(assets())
    shown = pages.render("error.html", **frame(), title="<b>", message="a & b", request_id="")
    assert "<b>" not in shown
    assert "a &amp; b" in shown
    with pytest.raises(Exception, match="'message' is undefined"):
        pages.render("error.html", **frame(), title="", request_id="")


def frame() -> dict[str, object]:
    return {
        "session": None,
        "notice": None,
        "path": "/",
        "form_token": "",
        "can": lambda scope: False,
        "now": 0.0,
    }


def test_the_address_of_a_static_file_follows_its_content() -> None:
    for name, asset in assets().items():
        stem, _, suffix = name.rpartition(".")
        assert asset.path.startswith(f"/console/static/{stem}-")
        assert asset.path.endswith(f".{suffix}")


# -- Connections


def connection(password: str) -> dict[str, object]:
    return {"host": "localhost", "port": 25060, "database": "defaultdb", "user": "app", "password": password}


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=9))
def test_a_hidden_password_is_in_no_text_and_a_shown_one_in_each_that_is_secret(password: str) -> None:
    hidden = texts(connection(password), None, shown=False)
    assert texts(connection("another one"), None, shown=False) == hidden
    assert {text.id for text in hidden if text.secret} == {text.id for text in hidden if HIDDEN in text.text}
    fields = {text.id: text.text for text in texts(connection(password), None, shown=True)}
    assert fields["field-password"] == password
    assert unquote(fields["text-uri"]).count(password) >= 1


def test_a_token_that_sees_no_credentials_gets_names_for_them() -> None:
    shown = {"host": "localhost", "port": 25060, "database": "defaultdb"}
    found = {text.id: text for text in texts(shown, None, shown=True)}
    assert found["text-uri"].text == "postgresql://USER:PASSWORD@localhost:25060/defaultdb?sslmode=require"
    assert not [text for text in found.values() if text.secret]


@pytest.mark.parametrize("name", connection_formats.SNIPPETS)
def test_every_snippet_names_the_place_the_login_and_the_authority(name: str) -> None:
    target = Target("db.example.com", 25061, "orders", "app", "s3cret", authority="/etc/ca.crt")
    text = connection_formats.SNIPPETS[name](target)
    for word in ("db.example.com", "25061", "orders", "app", "s3cret", "/etc/ca.crt"):
        assert word in text
    assert "/etc/ca.crt" not in connection_formats.SNIPPETS[name](replace(target, authority=None))


def test_cookies_are_set_for_this_host_alone() -> None:
    name, line = sessions.cookie(SESSION, "x", 60)
    assert name == "set-cookie"
    assert line == "__Host-cenote=x; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=60"


def test_all_hosts_are_named_where_a_cluster_has_several() -> None:
    shown = connection("secret")
    hosts = (("10.0.0.1", 25060), ("10.0.0.2", 25060))
    one = {text.id for text in texts(shown, None, shown=True, hosts=hosts[:1])}
    found = {text.id: text for text in texts(shown, None, shown=False, hosts=hosts, direct=False)}
    assert found.keys() - one == {"text-hosts", "text-hosts-jdbc"}
    assert "@10.0.0.1:25060,10.0.0.2:25060/" in found["text-hosts"].text
    assert found["text-hosts"].secret
    assert "secret" not in found["text-hosts"].text
    assert "//10.0.0.1:25060,10.0.0.2:25060/" in found["text-hosts-jdbc"].text
