"""The encrypted file of a service's backup: what is refused, and in which words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cenote.errors import Misconfigured
from cenote.model.record import Secret
from cenote.security import backup_file

PASSPHRASE = Secret("correct horse battery")
CONTENT = b"what is kept" * 100
MADE_AT = datetime(2026, 11, 29, 10, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def file() -> bytes:
    return backup_file.encrypted(CONTENT, PASSPHRASE, cenote="1.2.3", made_at=MADE_AT)


def refusal(file: bytes, passphrase: Secret = PASSPHRASE) -> str:
    with pytest.raises(Misconfigured) as refused:
        backup_file.decrypted(file, passphrase)
    return refused.value.message


def test_the_content_comes_back_and_the_header_says_what_the_file_is(file: bytes) -> None:
    assert backup_file.decrypted(file, PASSPHRASE) == CONTENT
    assert file.startswith(b"Cenote service backup")
    header = backup_file.header_of(file)
    assert (header.format, header.cenote, header.made_at) == (1, "1.2.3", MADE_AT)
    assert CONTENT[:12] not in file


def test_two_files_of_the_same_have_nothing_in_common(file: bytes) -> None:
    again = backup_file.encrypted(CONTENT, PASSPHRASE, cenote="1.2.3", made_at=MADE_AT)
    assert backup_file.header_of(again).salt != backup_file.header_of(file).salt
    assert again[-64:] != file[-64:]


def test_a_passphrase_counts_as_typed_on_any_system(file: bytes) -> None:
    composed, decomposed = Secret("caf\u00e9 au lait"), Secret("cafe\u0301 au lait")
    made = backup_file.encrypted(b"x", composed, cenote="1", made_at=MADE_AT)
    assert backup_file.decrypted(made, decomposed) == b"x"


def test_the_wrong_passphrase_is_told_from_a_damaged_file(file: bytes) -> None:
    assert "passphrase is wrong" in refusal(file, Secret("incorrect horse"))
    for at in (-1, -40, -len(CONTENT)):
        flipped = bytearray(file)
        flipped[at] ^= 1
        assert "the passphrase is right, but the file is damaged" in refusal(bytes(flipped))


def test_no_flipped_byte_of_the_first_lines_goes_unnoticed(
    file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The work is that of the file: this one is made with little of it.
    monkeypatch.setattr(backup_file, "_WORK", 2)
    quick = backup_file.encrypted(CONTENT, PASSPHRASE, cenote="1.2.3", made_at=MADE_AT)
    for at in range(quick.index(b"\n", quick.index(b"{")) + 66):
        flipped = bytearray(quick)
        flipped[at] ^= 1
        assert refusal(bytes(flipped))


@pytest.mark.parametrize("left", [0, 10, 70, 200, 300, 420, -1], ids=str)
def test_a_file_that_is_cut_off_says_so(file: bytes, left: int) -> None:
    assert "cut off" in refusal(file[:left])


def test_a_file_with_something_after_its_end_is_damaged(file: bytes) -> None:
    assert "longer than what was written" in refusal(file + b"\n")


@pytest.mark.parametrize(
    "other", [b"-----BEGIN PGP MESSAGE-----\n", b"\x1f\x8b\x08" * 100, b"{}"], ids=["pgp", "gzip", "json"]
)
def test_a_file_of_another_program_is_none_of_ours(other: bytes) -> None:
    assert "this is not the backup of a service by Cenote" in refusal(other)


def test_a_newer_format_asks_for_an_upgrade() -> None:
    newer = backup_file.FIRST_LINE + b'{"format":2,"cenote":"9.0","new":1}\n' + b"0" * 64 + b"\n" + b"x" * 99
    assert refusal(newer) == (
        "the backup was written by Cenote 9.0 (format 2; this version reads up to 1); upgrade this one"
    )


def test_a_file_cannot_ask_for_any_amount_of_memory(file: bytes) -> None:
    greedy = file.replace(b'"work":131072', b'"work":1073741824')
    assert "the first lines of the file are damaged" in refusal(greedy)


def test_a_short_passphrase_is_refused() -> None:
    with pytest.raises(Misconfigured, match="at least 8 characters"):
        backup_file.encrypted(CONTENT, Secret("1234567"), cenote="1", made_at=MADE_AT)
