"""Prepares a data directory for serving: the lock, the API's CA and certificate, the administrator's token.

Files with a key or a token have mode 0600 and are replaced atomically.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import socket
import time
from datetime import UTC, datetime
from pathlib import Path

from cenote.api import auth
from cenote.errors import Misconfigured
from cenote.host import files, processes
from cenote.http import tls_context
from cenote.model.paths import Layout
from cenote.security import certificates
from cenote.server.certificate_files import CertificateFiles
from cenote.server.settings import ServeSettings
from cenote.store.store import Store

log = logging.getLogger(__name__)

LOCK_SECONDS = 5.0  # for the processes of a service that was killed to end
_SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


def lock(layout: Layout) -> int:
    """Lock the data directory for this process; Misconfigured if another service holds the lock.

    The agent of a service that was killed holds it for the moment that its own end takes.
    """
    layout.data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            pid = serving_pid(layout)
            if (pid is None or processes.identify(pid) is None) and time.monotonic() < deadline:
                time.sleep(0.01)
                continue
            os.close(descriptor)
            raise Misconfigured(
                f"another Cenote serves from {layout.data_dir} (pid {pid or 'unknown'}){_at(layout)}; "
                "use that one, or choose another --data-dir and --port for a second one"
            ) from None
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _at(layout: Layout) -> str:
    address = (files.read(layout.address) or b"").decode(errors="replace").strip()
    return f" at {address}" if address else ""


def serving_pid(layout: Layout) -> int | None:
    """Return the pid of the service that holds the lock of this data directory, if any."""
    try:
        descriptor = os.open(layout.lock, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except PermissionError:
        raise Misconfigured(f"{layout.lock} belongs to another user; run this as that user") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        content = os.pread(descriptor, 32, 0).strip()
        return int(content) if content.isdigit() else None
    finally:
        os.close(descriptor)
    return None


def ensure_certificate(layout: Layout, settings: ServeSettings) -> None:
    """Create the CA and issue or renew the API's certificate as needed.

    Misconfigured if a certificate of the user is unusable.
    """
    if settings.certificate is not None:
        try:
            pair = CertificateFiles.of(settings, layout).read()
            tls_context.server_context(pair.certificate, pair.key)
        except (Misconfigured, OSError) as error:
            raise Misconfigured(
                f"--tls-cert {settings.certificate} and --tls-key {settings.key} cannot be used: {error}"
            ) from None
        return
    _ensure_authority(layout)
    files.write(layout.bundle, _system_bundle() + layout.authority.read_bytes(), 0o644, None)
    renew_certificate(layout, settings)


def _ensure_authority(layout: Layout) -> None:
    """Have the CA: its certificate can be made again from its key, its key from nothing.

    Misconfigured when the key was lost with what is trusted for it.
    """
    certificate, key = files.read(layout.authority), files.read(layout.authority_key)
    with contextlib.suppress(ValueError):
        if certificates.is_for_key(certificate or b"", key or b""):
            return
    began = bool(certificate) or os.path.lexists(layout.api_certificate)
    try:
        made, made_key = certificates.new_authority(
            _name_of_authority(layout), (key or b"") if key or began else None
        )
    except ValueError:
        raise Misconfigured(
            f"the key of the API's CA, {layout.authority_key}, is missing or damaged; restore it from a "
            f"backup, or remove it with {layout.authority} and {layout.api_certificate} for a new CA, "
            "which every client then has to trust anew"
        ) from None
    if began:
        log.warning("%s is not the certificate of its key; it is made anew", layout.authority)
    if not key:
        files.write(layout.authority_key, made_key.encode(), 0o600, None)
    files.write(layout.authority, made.encode(), 0o644, None)


def _name_of_authority(layout: Layout) -> str:
    """Return the CA's name: as before, or one that tells this installation's CA from others in a browser."""
    with contextlib.suppress(ValueError, IndexError):
        return certificates.common_name(files.read(layout.api_certificate) or b"", issuer=True)
    return f"Cenote CA of {socket.gethostname()[:40]} {secrets.token_hex(4)}"


def renew_certificate(layout: Layout, settings: ServeSettings) -> None:
    """Issue the API's certificate again if it is damaged, not valid, about to expire, or lacks a name."""
    authority = layout.authority.read_text()
    found = files.read(layout.api_certificate) or b""
    try:
        tls_context.server_context(found)
        is_good = (
            certificates.is_issued_by(found, authority)
            and set(certificates.names_of(found)) == set(settings.names)
            and not certificates.validity(found).is_due(datetime.now(UTC))
        )
    except (ValueError, OSError):
        is_good = False
    if not is_good:
        issued = certificates.issue(authority, layout.authority_key.read_text(), settings.names)
        files.write(layout.api_certificate, issued, 0o600, None)


def authority_problem(layout: Layout) -> str:
    """Return why the API's CA is not valid, in words; "" if it is."""
    now = datetime.now(UTC)
    why = certificates.validity(layout.authority.read_bytes()).problem(now)
    return why and (
        f"the certificate of the API's CA is {why}, so clients refuse the API; this host's clock says "
        f"{now:%Y-%m-%d %H:%M} UTC; if that is right, remove {layout.authority} and {layout.authority_key}, "
        "restart, and have the clients trust the new CA"
    )


async def ensure_admin_token(store: Store, layout: Layout) -> None:
    """Create the administrator's token and its file if missing, and make sure that the store has it.

    Read access to the file means control of the service, so a lost token is replaced by removing the file.
    """
    text = (files.read(layout.admin_token) or b"").decode(errors="replace").strip()
    minted, token = auth.mint("admin", (auth.EVERYTHING,))
    # Part of a token, as a power failure may leave it, could be guessed.
    if not auth.is_whole(text) and (not text or store.token(auth.digest(text)) is None):
        text = minted.reveal()
        files.write(layout.admin_token, f"{text}\n".encode(), 0o600, None)
    if store.token(auth.digest(text)) is None:
        await store.add_token(auth.digest(text), token)


def _system_bundle() -> bytes:
    for path in _SYSTEM_BUNDLES:
        with contextlib.suppress(OSError):
            return Path(path).read_bytes() + b"\n"
    return b""
