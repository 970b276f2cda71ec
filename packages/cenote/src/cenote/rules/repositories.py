"""The URL of a repository for backups, and the file with the credentials for it."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from cenote.model.backups import Repository, RepositoryKind
from cenote.model.record import Secret

NONE = "none"
MIN_DAYS, MAX_DAYS = 1, 35
MOST_DRILL_DAYS = 365  # between two restore drills
EXAMPLES = (
    "file:///srv/backups, s3://bucket/prefix?endpoint=s3.example.com&region=eu-1 or "
    "sftp://user@host/path?fingerprint=SHA256:…"
)
CREDENTIALS = ("key", "secret", "token")
PRIVATE_KEY = "private-key"  # the credential of an SFTP server

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ENDPOINT = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_FINGERPRINT = re.compile(r"SHA256:([A-Za-z0-9+/]{43})=?")
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]{64}")
_KEY = re.compile(
    r"-----BEGIN ([A-Z]+ )?PRIVATE KEY-----\n[A-Za-z0-9+/=\s]+-----END ([A-Z]+ )?PRIVATE KEY-----"
)
_OPENSSH_UNENCRYPTED = b"openssh-key-v1\0\0\0\0\x04none"
_REGION = re.compile(r"[A-Za-z0-9-]{1,40}")
_PATH = re.compile(r"/[A-Za-z0-9._/+@=-]*")  # what needs quoting nowhere: the path is part of commands
_LINE = re.compile(r"\s*([a-z]+)\s*=\s*([\x21-\x7e]+)\s*")
_AMAZON = "s3.{region}.amazonaws.com"
_DEFAULT_REGION = "us-east-1"


def parse(url: str) -> Repository | None:
    """Return the repository, None for ``none``; ValueError, in words, for what is no URL of one."""
    if url == NONE:
        return None
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        raise ValueError(f"it must be {NONE}, or a URL such as {EXAMPLES}") from None
    has_login = "@" in parts.netloc and parts.scheme != RepositoryKind.SFTP
    if password is not None or has_login:
        raise ValueError("it must hold no credentials, which stand in the file of --backups-credentials")
    if parts.fragment:
        raise ValueError("it must have nothing after a #")
    if parts.scheme == RepositoryKind.FILE:
        return _directory(parts)
    if parts.scheme == RepositoryKind.S3:
        return _bucket(parts)
    if parts.scheme == RepositoryKind.SFTP:
        return _server(parts)
    raise ValueError(f"it must be {NONE}, or a URL such as {EXAMPLES}")


def parse_credentials(text: str) -> dict[str, Secret]:
    """Return the credentials of a file with lines ``key = …`` and ``secret = …``; ValueError in words."""
    found: dict[str, Secret] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None or match[1] not in CREDENTIALS:
            raise ValueError(f"line {number} is not of the form NAME = VALUE, with {', '.join(CREDENTIALS)}")
        found[match[1]] = Secret(match[2])
    missing = [name for name in CREDENTIALS[:2] if name not in found]
    if missing:
        raise ValueError(f"it has no line for {' and '.join(missing)}")
    return found


def parse_private_key(text: str) -> dict[str, Secret]:
    """Return the private key of a file, by which pgBackRest logs in; ValueError in words."""
    key = text.replace("\r", "").strip()
    if key.startswith("-----BEGIN ") and "ENCRYPTED" in key:
        raise ValueError(_LOCKED)
    if not _KEY.fullmatch(key):
        raise ValueError("it is no private key, such as ssh-keygen writes")
    if "OPENSSH" in key:
        body = "".join(key.splitlines()[1:-1])
        try:
            if not base64.b64decode(body, validate=True).startswith(_OPENSSH_UNENCRYPTED):
                raise ValueError(_LOCKED)
        except binascii.Error:
            raise ValueError("it is no private key, such as ssh-keygen writes") from None
    return {PRIVATE_KEY: Secret(key + "\n")}


_LOCKED = "it needs a passphrase, and nobody is there to give it; make a key without one"


def _directory(parts: SplitResult) -> Repository:
    if parts.netloc or parts.query:
        raise ValueError("a directory is named by three slashes, such as file:///srv/backups")
    path = _path(parts.path)
    if path == PurePosixPath("/"):
        raise ValueError("it must name a directory below /, such as file:///srv/backups")
    return Repository(RepositoryKind.FILE, path)


def _bucket(parts: SplitResult) -> Repository:
    if not _BUCKET.fullmatch(parts.netloc):
        raise ValueError(f"{parts.netloc!r} cannot be the name of a bucket")
    given = _options(parts.query, ("endpoint", "region", "uri-style", "ca"))
    region = given.get("region", _DEFAULT_REGION)
    endpoint = given.get("endpoint", _AMAZON.format(region=region))
    if not _REGION.fullmatch(region):
        raise ValueError(f"{region!r} cannot be a region")
    if not _ENDPOINT.fullmatch(endpoint):
        raise ValueError(f"endpoint must be a host, with or without a port, not {endpoint!r}")
    style, authority = given.get("uri-style", "host"), given.get("ca", "")
    if style not in ("host", "path"):
        raise ValueError("uri-style must be host or path")
    return Repository(
        RepositoryKind.S3,
        _path(parts.path or "/"),
        bucket=parts.netloc,
        endpoint=endpoint,
        region=region,
        by_path=style == "path",
        authority=str(_path(authority)) if authority else "",
    )


def _server(parts: SplitResult) -> Repository:
    user, _, endpoint = parts.netloc.rpartition("@")
    if not _USER.fullmatch(user):
        raise ValueError(
            f"it must name the user that logs in, such as sftp://backup@{endpoint or 'host'}/path"
        )
    if not _ENDPOINT.fullmatch(endpoint):
        raise ValueError(f"it must name a host, with or without a port, not {endpoint!r}")
    path = _path(parts.path)
    if path == PurePosixPath("/"):
        raise ValueError("it must name a directory below /, such as sftp://backup@host/srv/backups")
    given = _options(parts.query, ("fingerprint", "known-hosts"))
    if len(given) != 1:
        raise ValueError(
            "it must say how the server's key is known: fingerprint=SHA256:…, as 'ssh-keygen -l' prints it, "
            "or known-hosts=/FILE"
        )
    known_hosts = given.get("known-hosts")
    return Repository(
        RepositoryKind.SFTP,
        path,
        endpoint=endpoint,
        user=user,
        fingerprint="" if known_hosts is not None else _hexadecimal(given["fingerprint"]),
        known_hosts="" if known_hosts is None else str(_path(known_hosts)),
    )


def _hexadecimal(fingerprint: str) -> str:
    """Return a SHA-256 as pgBackRest takes it."""
    if _HEXADECIMAL.fullmatch(fingerprint):
        return fingerprint.lower()
    match = _FINGERPRINT.fullmatch(fingerprint)
    if match is None:
        raise ValueError(
            "fingerprint must be as 'ssh-keygen -l' prints it, SHA256:…, or 64 hexadecimal digits"
        )
    return base64.b64decode(match[1] + "=").hex()


def _options(query: str, allowed: Sequence[str]) -> Mapping[str, str]:
    given = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)
    unknown = [name for name, _ in given if name not in allowed]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is none of its options, which are {', '.join(allowed)}")
    return dict(given)


def _path(text: str) -> PurePosixPath:
    path = unquote(text)
    if not _PATH.fullmatch(path) or any(step in (".", "..") for step in path.split("/")):
        raise ValueError(
            f"{path!r} must be an absolute path of letters, digits and . _ / + @ = - alone, without .."
        )
    return PurePosixPath(re.sub("/+", "/", path))
