"""Secrets for one process alone: encrypted to its public key, so that whoever carries them cannot read them.

X25519 with a key of the sender for each box, HKDF and AES-256-GCM.  What the box is about is bound to it.
"""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cenote.errors import Invalid

_KEY_BYTES = 32
_NONCE = bytes(12)  # each key encrypts one text


class Recipient:
    """Who can open boxes, as long as this object lives."""

    def __init__(self) -> None:
        self._key = X25519PrivateKey.generate()

    @property
    def public_key(self) -> str:
        return base64.b64encode(self._key.public_key().public_bytes_raw()).decode("ascii")

    def open(self, box: str, about: str) -> str:
        """Return the text in a box; Invalid if it is for somebody else, about something else, or damaged."""
        try:
            content = base64.b64decode(box, validate=True)
            sender = content[:_KEY_BYTES]
            shared = self._key.exchange(X25519PublicKey.from_public_bytes(sender))
            cipher = _cipher(shared, sender, self._key.public_key().public_bytes_raw(), about)
            return cipher.decrypt(_NONCE, content[_KEY_BYTES:], None).decode()
        except (binascii.Error, ValueError, InvalidTag):
            # Without the cause: a traceback must not show the text.
            raise Invalid("This is not for this process.") from None


def box(text: str, public_key: str, about: str) -> str:
    """Return a text that only the recipient with this public key can open; Invalid if that is none."""
    sender = X25519PrivateKey.generate()
    try:
        recipient = base64.b64decode(public_key, validate=True)
        shared = sender.exchange(X25519PublicKey.from_public_bytes(recipient))
    except (binascii.Error, ValueError):
        raise Invalid("This is not a public key.") from None
    own = sender.public_key().public_bytes_raw()
    sealed = _cipher(shared, own, recipient, about).encrypt(_NONCE, text.encode(), None)
    return base64.b64encode(own + sealed).decode("ascii")


def _cipher(shared: bytes, sender: bytes, recipient: bytes, about: str) -> AESGCM:
    info = b"cenote box\0" + sender + recipient + about.encode()
    return AESGCM(HKDF(SHA256(), length=_KEY_BYTES, salt=None, info=info).derive(shared))
