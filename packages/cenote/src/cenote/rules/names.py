"""Names on a server, and formatting for error messages; shared by the other rules."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cenote.errors import Invalid

RESERVED_POOLS = frozenset({"pgbouncer", "postgres", "template0", "template1"})
_RESERVED = RESERVED_POOLS | {"cenote", "public", "none"}
_RESERVED_PREFIXES = ("pg_", "cenote_")

SERVER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@$+-]*")


def server_name(kind: str, name: str) -> str:
    if not 1 <= len(name) <= 63:
        raise Invalid(f"name: a {kind}'s name has 1 to 63 characters, this one has {len(name)}.")
    if not SERVER_NAME.fullmatch(name):
        raise Invalid(
            f"name: a {kind}'s name consists of ASCII letters, digits and the characters _ . @ $ + -, and "
            "begins with a letter, a digit or an underscore."
        )
    if name.lower() in _RESERVED or name.lower().startswith(_RESERVED_PREFIXES):
        raise Invalid(f"name: {name!r} is reserved.")
    return name


def is_server_name(name: str) -> bool:
    """Return whether the API takes a name; SQL may have given any other one."""
    try:
        return bool(server_name("name", name))
    except Invalid:
        return False


def check_unused(thing: str, pools: list[str]) -> None:
    if pools:
        raise Invalid(
            f"{thing} can't be deleted: {plural(pools, 'pool uses', 'pools use')} it: {', '.join(pools)}."
        )


def plural(things: list[str], one: str, more: str) -> str:
    return f"1 {one}" if len(things) == 1 else f"{len(things)} {more}"


def either(words: Iterable[str]) -> str:
    return " or ".join(repr(word) for word in words)


def quoted(text: str) -> str:
    """Return user input for a message: quoted, at most 80 characters, one line, ASCII."""
    return ascii(text if len(text) <= 80 else f"{text[:80]}…")
