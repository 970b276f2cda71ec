"""A file that a passphrase encrypts: the backup of a service.

Three lines of text say what it is and how its key is derived, by scrypt; then follows the content, by
AES-256-GCM.  The lines are authenticated with the content.  The third proves the passphrase, so that a wrong
one can be told from a damaged file; whoever guesses has to derive the key for each guess all the same.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import unicodedata
from datetime import datetime
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from cenote.errors import Misconfigured
from cenote.model.record import Secret

FORMAT = 1
FIRST_LINE = b"Cenote service backup, encrypted; 'cenote service show' reads it\n"
MOST_BYTES = 1 << 30  # of the content; the cipher takes not quite 2 GiB at once
SHORTEST = 8  # characters of a passphrase

_WORK = 1 << 17  # with blocks of 8 it takes 128 MiB, and a quarter of a second
_KEY_BYTES, _NONCE_BYTES, _TAG_BYTES = 32, 12, 16
_MOST_LINE = 4096  # bytes
_MOST_MEMORY = 1 << 30  # bytes, that a file may have the derivation take


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What everybody can read of a backup.  ``size`` is the number of bytes in the encrypted content."""

    format: int
    cenote: str
    made_at: datetime
    size: Annotated[int, msgspec.Meta(ge=_TAG_BYTES)]
    # Bounds, since these come out of a file: the derivation takes 128 * work * block bytes of memory.
    work: Annotated[int, msgspec.Meta(ge=2, le=1 << 20)]
    block: Annotated[int, msgspec.Meta(ge=1, le=16)]
    salt: Annotated[bytes, msgspec.Meta(min_length=16, max_length=64)]
    nonce: Annotated[bytes, msgspec.Meta(min_length=_NONCE_BYTES, max_length=_NONCE_BYTES)]


class _Version(msgspec.Struct):
    format: int
    cenote: str = "a newer version"


def encrypted(content: bytes, passphrase: Secret, *, cenote: str, made_at: datetime) -> bytes:
    """Return the file; ``cenote`` is the version that writes it.

    Misconfigured for too short a passphrase, and too large a content.
    """
    if len(content) > MOST_BYTES:
        raise Misconfigured(f"the records are too large for a file like this: {len(content) >> 20} MiB")
    check(passphrase)
    header = Header(
        format=FORMAT,
        cenote=cenote,
        made_at=made_at,
        size=len(content) + _TAG_BYTES,
        work=_WORK,
        block=8,
        salt=os.urandom(16),
        nonce=os.urandom(_NONCE_BYTES),
    )
    lines = FIRST_LINE + msgspec.json.encode(header) + b"\n"
    key, proof = _derived(header, passphrase)
    lines += _proof(proof, lines)
    return lines + AESGCM(key).encrypt(header.nonce, content, lines)


def decrypted(file: bytes, passphrase: Secret) -> bytes:
    """Return the content.

    Misconfigured, in words, for another file, a newer format, one that is cut off or damaged, and for the
    wrong passphrase.
    """
    header = header_of(file)
    lines, given, body = _parts(file)
    key, proof = _derived(header, passphrase)
    if not hmac.compare_digest(given, _proof(proof, lines)):
        raise Misconfigured("the passphrase is wrong, or the first lines of the file are damaged")
    try:
        return AESGCM(key).decrypt(header.nonce, body, lines + given)
    except InvalidTag:
        raise Misconfigured(
            "the passphrase is right, but the file is damaged: its content is not what was written"
        ) from None


def header_of(file: bytes) -> Header:
    """Return what the file says in plain text; Misconfigured as for ``decrypted``, without a passphrase."""
    if not file.startswith(FIRST_LINE):
        if FIRST_LINE.startswith(file):
            raise Misconfigured("the file is empty or cut off")
        raise Misconfigured("this is not the backup of a service by Cenote")
    lines, _, body = _parts(file)
    text = lines[len(FIRST_LINE) :]
    try:
        version = msgspec.json.decode(text, type=_Version)
        if version.format > FORMAT:
            raise Misconfigured(
                f"the backup was written by Cenote {version.cenote} (format {version.format}; this version "
                f"reads up to {FORMAT}); upgrade this one"
            )
        header = msgspec.json.decode(text, type=Header)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _damaged_lines() from None
    if header.work & (header.work - 1) or 128 * header.work * header.block > _MOST_MEMORY:
        raise _damaged_lines()
    if len(body) < header.size:
        raise Misconfigured(
            f"the file is cut off: {len(body)} of {header.size} bytes of its content are there"
        )
    if len(body) > header.size:
        raise Misconfigured("the file is damaged: it is longer than what was written")
    return header


def check(passphrase: Secret) -> None:
    """Raise Misconfigured for a passphrase that is too short to be one."""
    if len(passphrase.reveal()) < SHORTEST:
        raise Misconfigured(f"the passphrase must have at least {SHORTEST} characters")


def _parts(file: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the first two lines, the third one, and the content; Misconfigured for a file without them."""
    second = file.find(b"\n", len(FIRST_LINE), len(FIRST_LINE) + _MOST_LINE)
    third = second + 1 + 2 * hashlib.sha256().digest_size
    if second < 0 and len(file) > len(FIRST_LINE) + _MOST_LINE:
        raise _damaged_lines()
    if second < 0 or len(file) <= third:
        raise Misconfigured("the file is empty or cut off")
    return file[: second + 1], file[second + 1 : third + 1], file[third + 1 :]


def _damaged_lines() -> Misconfigured:
    return Misconfigured("the first lines of the file are damaged")


def _derived(header: Header, passphrase: Secret) -> tuple[bytes, bytes]:
    """Return the key of the content, and that of the proof."""
    # The same letters are typed as different characters on different systems.
    text = unicodedata.normalize("NFC", passphrase.reveal()).encode()
    both = Scrypt(salt=header.salt, length=2 * _KEY_BYTES, n=header.work, r=header.block, p=1).derive(text)
    return both[:_KEY_BYTES], both[_KEY_BYTES:]


def _proof(key: bytes, lines: bytes) -> bytes:
    return hmac.digest(key, lines, "sha256").hex().encode() + b"\n"
