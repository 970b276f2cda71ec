"""Keys that sign what a name server is told (TSIG, RFC 8945), in files as ``tsig-keygen`` prints them."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from cenote.model.record import Secret

ALGORITHMS = ("hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512")
_COMMENT = re.compile(r"//[^\n]*|#[^\n]*|/\*.*?\*/", re.DOTALL)
_KEY = re.compile(r"key\s+\"?(?P<name>[A-Za-z0-9._-]{1,253})\"?\s*\{(?P<body>[^{}]*)\}\s*;?")
_FIELD = re.compile(r"\s*(?P<name>[a-z]+)\s+\"?(?P<value>[A-Za-z0-9+/=._-]+)\"?\s*;")


@dataclass(frozen=True, slots=True)
class TsigKey:
    name: str
    algorithm: str
    secret: Secret  # base64


def parse(text: str) -> TsigKey:
    """Return the only key of a file; ValueError, without a word of its content, for any other text."""
    found = list(_KEY.finditer(_without_comments(text)))
    if len(found) != 1:
        raise ValueError(f"it has {len(found)} keys, and must have one, as tsig-keygen prints it")
    fields = {one["name"]: one["value"] for one in _FIELD.finditer(found[0]["body"])}
    algorithm = fields.get("algorithm", "").lower().rstrip(".")
    if algorithm not in ALGORITHMS:
        raise ValueError(f"the algorithm of its key is none of {', '.join(ALGORITHMS)}")
    try:
        length = len(base64.b64decode(fields.get("secret", ""), validate=True))
    except binascii.Error:
        length = 0
    if length < 16:
        raise ValueError("its key has no secret of 16 bytes or more in base64")
    return TsigKey(found[0]["name"].lower().rstrip("."), algorithm, Secret(fields["secret"]))


def _without_comments(text: str) -> str:
    """Comments begin on a line's first characters or after a blank: base64 has slashes, too."""
    return re.sub(rf"(?:(?<=\s)|\A)(?:{_COMMENT.pattern})", "", text, flags=re.DOTALL)
