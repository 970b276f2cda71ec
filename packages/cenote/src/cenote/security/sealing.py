"""Encryption of secrets at rest: passwords and private keys, sealed with AES-256-GCM by a ring of keys.

The ring is one file with a key on each line, the newest last: the newest seals, all of them open.  A sealed
text is ``v1.<key id>.<nonce and ciphertext in base64>``.  The key id is a part of the key's hash: it says
which key opens the text, distinguishes a missing key from damage, and reveals nothing of the key.

There are two rings: ``api`` for passwords and the private keys of the clusters' CAs, which the API alone can
open, and ``host`` for what the agents need, the configurations of log sinks.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import stat
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cenote.errors import Misconfigured
from cenote.model.record import Secret
from cenote.security import sealing_keys
from cenote.security.sealing_keys import KEY_BYTES, SealingKey

NONCE_BYTES = 12  # the length that GCM is made for
VERSION = "v1"
TEMPORARY = ".sealing."

# A sealed text as a string of a JSON document: it needs no escapes, and is never a part of another string.
_IN_JSON = re.compile(rb'"(v1\.([0-9a-f]{8})\.[A-Za-z0-9+/]+={0,2})"')


class Sealer:
    """Seals with the newest key in ``key_file``, which is created at first use, and opens with all of them.

    A key that was removed from the file still opens until the process ends, since texts sealed with it may
    have been read before.  Misconfigured when the file cannot be created or read, holds no key, or others can
    read it.
    """

    def __init__(self, key_file: Path) -> None:
        self._key_file = key_file
        try:
            if not key_file.exists():
                _create(key_file)
            self._keys = _read(key_file)
        except OSError as error:
            raise self._unusable(error) from error
        self._ciphers = {key.id: AESGCM(key.secret) for key in self._keys}

    @property
    def keys(self) -> tuple[SealingKey, ...]:
        """The keys in the file, the newest last."""
        return self._keys

    def seal(self, secret: Secret) -> str:
        """Return the secret as a text that only the newest key opens."""
        key_id = self._keys[-1].id
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + self._ciphers[key_id].encrypt(nonce, secret.reveal().encode(), None)
        return f"{VERSION}.{key_id}.{base64.b64encode(sealed).decode()}"

    def open(self, sealed: str) -> Secret:
        """Return the secret; Misconfigured when its key is not in the ring or the text is damaged."""
        version, key_id, text = sealed.split(".") if sealed.count(".") == 2 else ("", "", "")
        if version != VERSION:
            raise Misconfigured("a sealed secret in the store is damaged or of an unknown version")
        cipher = self._ciphers.get(key_id) or self._added(key_id)
        if cipher is None:
            raise Misconfigured(
                f"a secret in the store was sealed with another key than those in {self._key_file}"
            )
        try:
            binary = base64.b64decode(text, validate=True)
            if base64.b64encode(binary) != text.encode("ascii"):
                raise ValueError("bits that base64 has to spare were changed")
            plain = cipher.decrypt(binary[:NONCE_BYTES], binary[NONCE_BYTES:], None)
        except (binascii.Error, InvalidTag, ValueError):
            # Without the cause: a traceback must not show the text.
            raise Misconfigured("a sealed secret in the store is damaged") from None
        return Secret(plain.decode())

    def _added(self, key_id: str) -> AESGCM | None:
        """Return a key that another process has added to the file since it was read."""
        with contextlib.suppress(OSError, Misconfigured):
            self._keys = _read(self._key_file)
            self._ciphers |= {key.id: AESGCM(key.secret) for key in self._keys}
        return self._ciphers.get(key_id)

    def reseal(self, document: bytes, by: Sealer | None = None) -> bytes:
        """Return a JSON document with each text that a key of this ring has sealed, sealed with the newest.

        With ``by``, by another ring.  What does not open stays as it is: it is another ring's, damaged, or
        only looks like a sealed text.
        """
        newest = self._keys[-1].id if by is None else ""
        sealer = by or self

        def resealed(found: re.Match[bytes]) -> bytes:
            key_id = found[2].decode()
            if key_id == newest or key_id not in self._ciphers:
                return found[0]
            try:
                return b'"' + sealer.seal(self.open(found[1].decode())).encode() + b'"'
            except Misconfigured:
                return found[0]

        return _IN_JSON.sub(resealed, document)

    def derived(self, purpose: str) -> bytes:
        """Return a key for another purpose, derived from the newest key; it reveals nothing of that one."""
        return HKDF(SHA256(), length=KEY_BYTES, salt=None, info=purpose.encode()).derive(
            self._keys[-1].secret
        )

    def add_key(self, key: SealingKey | None = None) -> SealingKey:
        """Add a key, by default a new one; the newest seals.  It is on disk before it seals anything."""
        key = key or sealing_keys.new_key(self._keys)
        keys = sealing_keys.merged(self._keys, (key,))
        self._write(keys)
        self._ciphers[key.id] = AESGCM(key.secret)
        self._keys = keys
        return key

    def remove_keys(self, ids: Collection[str]) -> None:
        """Remove keys from the file, but never the newest."""
        kept = tuple(key for key in self._keys if key.id not in ids or key is self._keys[-1])
        self._write(kept)
        self._keys = kept

    def _write(self, keys: tuple[SealingKey, ...]) -> None:
        try:
            name = _written(self._key_file.parent, keys)
            try:
                os.replace(name, self._key_file)
            except OSError:
                os.unlink(name)
                raise
            for left in self._key_file.parent.glob(f"{TEMPORARY}*"):
                left.unlink()  # of a process that was killed: it may hold a key that was removed
            _sync(self._key_file.parent)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> Misconfigured:
        return Misconfigured(f"the sealing key {self._key_file} cannot be used: {error.strerror}")


def sealing_keys_in(document: bytes) -> set[str]:
    """Return the ids of the keys that sealed the texts in a JSON document."""
    return {found[2].decode() for found in _IN_JSON.finditer(document)}


def _create(key_file: Path) -> None:
    key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A link, unlike a rename, fails when another process has created the file meanwhile: its key is used.
    name = _written(key_file.parent, (sealing_keys.new_key(),))
    try:
        with contextlib.suppress(FileExistsError):
            os.link(name, key_file)
    finally:
        os.unlink(name)
    _sync(key_file.parent)


def _written(folder: Path, keys: tuple[SealingKey, ...]) -> str:
    """Write the keys into a temporary file, 0600 and on disk, and return its name."""
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=TEMPORARY)  # 0600 by its own rule
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(sealing_keys.text(keys))
        file.flush()
        os.fsync(file.fileno())
    return name


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)  # a key that a power failure takes makes every secret sealed with it unreadable
    finally:
        os.close(descriptor)


def _read(key_file: Path) -> tuple[SealingKey, ...]:
    found = key_file.stat()
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise Misconfigured(f"the sealing key {key_file} is open to others; fix: chmod 600 {key_file}")
    written_at = datetime.fromtimestamp(int(found.st_mtime), UTC)
    try:
        keys = sealing_keys.keys_in(key_file.read_text(encoding="ascii"), written_at)
    except ValueError:
        keys = ()
    if not keys:
        raise Misconfigured(f"the sealing key {key_file} holds no key of {KEY_BYTES} bytes in hexadecimal")
    return keys


@dataclass(frozen=True, slots=True)
class Rings:
    """The two rings, as the API has them."""

    api: Sealer
    host: Sealer
