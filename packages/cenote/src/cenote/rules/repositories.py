"""The URL of a repository for backups, and the file with the credentials for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from cenote.model.backups import Repository, RepositoryKind
from cenote.model.record import Secret

NONE = "none"
MIN_DAYS, MAX_DAYS = 1, 35
EXAMPLES = "file:///srv/backups or s3://bucket/prefix?endpoint=s3.example.com&region=eu-1"
CREDENTIALS = ("key", "secret", "token")

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ENDPOINT = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?")
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
        user = parts.username
    except ValueError:
        raise ValueError(f"it must be {NONE}, or a URL such as {EXAMPLES}") from None
    if user is not None or "@" in parts.netloc:
        raise ValueError("it must hold no credentials, which stand in the file of --backups-credentials")
    if parts.fragment:
        raise ValueError("it must have nothing after a #")
    if parts.scheme == RepositoryKind.FILE:
        return _directory(parts)
    if parts.scheme == RepositoryKind.S3:
        return _bucket(parts)
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
    given = _options(parts.query)
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


def _options(query: str) -> Mapping[str, str]:
    allowed = ("endpoint", "region", "uri-style", "ca")
    given = parse_qsl(query, keep_blank_values=True)
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
