"""Passwords and private keys at rest: sealed with one key, which only the service's own user can read.

A sealed text is ``v1.<which key>.<nonce and AES-256-GCM ciphertext>``.  Which key it was lets a wrong key be
told from a damaged text; it is a part of the key's hash and gives nothing away.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import stat
import tempfile
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cenote.errors import Misconfigured
from cenote.model.records import Secret

KEY_BYTES = 32
NONCE_BYTES = 12  # the length that GCM is made for
VERSION = "v1"


class Sealer:
    """Seals with the key in ``key_file``, which is made at first use and never overwritten.

    Misconfigured when the file cannot be made or read, holds no key, or others can read it.
    """

    def __init__(self, key_file: Path) -> None:
        try:
            if not key_file.exists():
                _make(key_file)
            key = _read(key_file)
        except OSError as error:
            raise Misconfigured(f"the sealing key {key_file} cannot be used: {error.strerror}") from error
        self._key_file = key_file
        self._prefix = f"{VERSION}.{hashlib.sha256(key).hexdigest()[:8]}."
        self._cipher = AESGCM(key)
        self._key = key

    def seal(self, secret: Secret) -> str:
        """Return the secret as a text that only the key opens."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, secret.reveal().encode(), None)
        return self._prefix + base64.b64encode(sealed).decode()

    def open(self, sealed: str) -> Secret:
        """Return the secret; Misconfigured when the key is another one or the text is damaged."""
        if not sealed.startswith(self._prefix):
            raise Misconfigured(self._mismatch(sealed))
        try:
            text = sealed[len(self._prefix) :]
            binary = base64.b64decode(text, validate=True)
            if base64.b64encode(binary) != text.encode("ascii"):
                raise ValueError("bits that base64 has to spare were changed")
            plain = self._cipher.decrypt(binary[:NONCE_BYTES], binary[NONCE_BYTES:], None)
        except (binascii.Error, InvalidTag, ValueError):
            # Without the cause: a traceback must not show the text.
            raise Misconfigured("a sealed secret in the store is damaged") from None
        return Secret(plain.decode())

    def derived(self, purpose: str) -> bytes:
        """Return a key of its own for something else, from which this one can't be told."""
        return HKDF(SHA256(), length=KEY_BYTES, salt=None, info=purpose.encode()).derive(self._key)

    def _mismatch(self, sealed: str) -> str:
        if sealed.startswith(f"{VERSION}.") and sealed.count(".") == self._prefix.count("."):
            return f"a secret in the store was sealed with another key than that in {self._key_file}"
        return "a sealed secret in the store is damaged, or of a version that is not known here"


def _make(key_file: Path) -> None:
    key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A link, unlike a rename, fails when somebody else has made the file meanwhile; theirs is then the key.
    descriptor, name = tempfile.mkstemp(dir=key_file.parent)  # 0600 by its own rule
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(os.urandom(KEY_BYTES).hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(name, key_file)
    finally:
        os.unlink(name)
    folder = os.open(key_file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # a key that is lost with the power takes every sealed secret with it
    finally:
        os.close(folder)


def _read(key_file: Path) -> bytes:
    if stat.S_IMODE(key_file.stat().st_mode) & 0o077:
        raise Misconfigured(
            f"the sealing key {key_file} is open to others; mend it with: chmod 600 {key_file}"
        )
    try:
        key = bytes.fromhex(key_file.read_text(encoding="ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise Misconfigured(f"the sealing key {key_file} holds no key of {KEY_BYTES} bytes in hexadecimal")
    return key
