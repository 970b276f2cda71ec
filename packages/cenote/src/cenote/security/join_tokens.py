"""The text of a token with which one host joins a fleet.

It names the hash of the fleet's CA, so that the new host trusts nobody else, a secret, of which the store
keeps the hash alone, and where to ask: ``cenote-join-<hash>-<secret>@<address>:<port>``.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

from cenote.errors import Misconfigured
from cenote.model.record import Secret

SECRET_BYTES = 20
_TEXT = re.compile(
    r"cenote-join-(?P<fingerprint>[0-9a-f]{64})-(?P<secret>[0-9a-f]{40})"
    r"@(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<address>[0-9A-Za-z.-]+)):(?P<port>[0-9]{1,5})"
)


@dataclass(frozen=True, slots=True)
class JoinText:
    """A token as it is typed on the new host."""

    fingerprint: str
    secret: Secret
    address: str
    port: int

    def reveal(self) -> str:
        """Return the text, which is a secret."""
        return f"cenote-join-{self.fingerprint}-{self.secret.reveal()}@{self.place}"

    @property
    def place(self) -> str:
        """Where to ask: address and port."""
        return f"{f'[{self.address}]' if ':' in self.address else self.address}:{self.port}"

    @property
    def digest(self) -> str:
        """What the store knows the token by."""
        return digest(self.secret.reveal())


def new_secret() -> Secret:
    return Secret(secrets.token_hex(SECRET_BYTES))


def digest(secret: str) -> str:
    """Return the SHA-256 of a secret; it is random, so that its hash tells nothing."""
    return hashlib.sha256(secret.encode()).hexdigest()


def parse(text: str) -> JoinText:
    """Read a token as it was typed; Misconfigured if it is not one, without showing it."""
    found = _TEXT.fullmatch(text.strip())
    if found is None or not 0 < int(found["port"]) < 65536:
        raise Misconfigured(
            "--join takes a token as 'cenote host token' prints it on a host of the fleet: "
            "cenote-join-…-…@ADDRESS:PORT, whole and in one line"
        )
    address = found["ipv6"] or found["address"]
    return JoinText(found["fingerprint"], Secret(found["secret"]), address, int(found["port"]))
