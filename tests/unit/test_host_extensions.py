"""What is offered of an installation's extensions, found where each packager puts them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cenote.host import extensions

TRUSTED = "comment = 'text search'\ndefault_version = '1.6'\ntrusted = true\n"
UNTRUSTED = "# trusted = true\ncomment = 'trusted = true'\ndefault_version = '1.0'\ntrusted = false\n"


@pytest.mark.parametrize(
    ("binaries", "share"),
    [
        ("usr/lib/postgresql/15/bin", "usr/share/postgresql/15"),
        ("usr/pgsql-16/bin", "usr/pgsql-16/share"),
        ("opt/homebrew/opt/postgresql@17/bin", "opt/homebrew/opt/postgresql@17/share/postgresql@17"),
        ("home/me/postgres/bin", "home/me/postgres/share/postgresql"),
    ],
)
def test_trusted_extensions_are_offered_wherever_they_stand(
    tmp_path: Path, binaries: str, share: str
) -> None:
    folder = tmp_path / share / "extension"
    folder.mkdir(parents=True)
    (folder / "pg_trgm.control").write_text(TRUSTED)
    (folder / "dblink.control").write_text(UNTRUSTED)
    (folder / "broken.control").write_bytes(b"\xff\x00trusted")
    assert extensions.offered(tmp_path / binaries) == ("pg_trgm",)
    (folder / "pg_stat_statements.control").write_text(UNTRUSTED)
    assert extensions.offered(tmp_path / binaries) == ("pg_stat_statements", "pg_trgm")


def test_an_installation_without_any_offers_none(tmp_path: Path) -> None:
    assert extensions.offered(tmp_path / "bin") == ()
