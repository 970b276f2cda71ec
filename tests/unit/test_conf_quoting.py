"""Each format's quoting: any text comes back as it was, on one line, or is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cenote.conf import quoting
from cenote.errors import Invalid
from tests.support import readers

FORMATS = (
    quoting.postgresql_value,
    quoting.hba_token,
    quoting.userlist_token,
    quoting.pgbouncer_value,
    quoting.pgbouncer_key,
)
CONTROL = [chr(number) for number in (*range(32), 127)]
ANY = st.text() | st.text(alphabet="ab '\"\\%#;=*[]@+/-.,$\n\t\x00")


def written(quote: Callable[[str], str], text: str) -> str | None:
    try:
        return quote(text)
    except Invalid:
        return None


@given(ANY)
@example("'")
@example("\\'")
@example("a''b\\")
def test_a_value_of_postgresql_conf_comes_back_as_it_was(text: str) -> None:
    if (quoted := written(quoting.postgresql_value, text)) is not None:
        assert readers.postgresql(f"some = {quoted}") == {"some": text}


@given(ANY)
@example('"')
@example("all")
@example("+group")
@example("@file")
def test_a_name_in_an_hba_or_ident_file_comes_back_as_a_quoted_name(text: str) -> None:
    if (quoted := written(quoting.hba_token, text)) is not None:
        assert readers.tokens(f"before {quoted} after # {quoted}") == ["before", f'"{text}', "after"]


@given(ANY, ANY)
@example('"', '"')
def test_a_line_of_the_userlist_comes_back_as_it_was(name: str, verifier: str) -> None:
    quoted = [written(quoting.userlist_token, text) for text in (name, verifier)]
    if None not in quoted:
        assert readers.userlist(" ".join(word or "" for word in quoted)) == (name, verifier)


@given(ANY, ANY)
@example("a", "b' host='elsewhere")
def test_a_line_of_the_databases_comes_back_as_it_was(name: str, value: str) -> None:
    key, quoted = written(quoting.pgbouncer_key, name), written(quoting.pgbouncer_value, value)
    if key is not None and quoted is not None:
        line = f"{key} = dbname={quoted} user={quoted}"
        assert readers.database_line(line) == (name, {"dbname": value, "user": value})


@pytest.mark.parametrize("quote", FORMATS)
@pytest.mark.parametrize("character", CONTROL, ids=ascii)
def test_a_control_character_is_refused(quote: Callable[[str], str], character: str) -> None:
    for text in (character, f"a{character}", f"{character}a", f"a{character}b"):
        with pytest.raises(Invalid):
            quote(text)


@pytest.mark.parametrize("quote", FORMATS)
@given(text=st.text(alphabet=st.characters(codec=None), min_size=1))
@example(text="\ud800")
def test_what_is_written_can_be_encoded(quote: Callable[[str], str], text: str) -> None:
    if (quoted := written(quote, text)) is not None:
        assert quoted.encode().decode() == quoted


@pytest.mark.parametrize(
    "name", ["", "*", "%include", "a b", "a=b", "a'b", 'a"b', "a;b", "#a", "[a]", "ä", "a\n", "a\nb", "a\\b"]
)
def test_what_pgbouncer_would_not_start_with_cannot_name_a_pool(name: str) -> None:
    with pytest.raises(Invalid):
        quoting.pgbouncer_key(name)


def test_a_name_that_would_be_a_regular_expression_is_refused() -> None:
    with pytest.raises(Invalid, match="regular expression"):
        quoting.hba_token("/.*")
