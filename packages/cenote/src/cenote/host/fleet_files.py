"""The files of this host's place in the fleet: its key, its certificate and the CA's.  Only we read them."""

from __future__ import annotations

from datetime import datetime

import msgspec

from cenote.host import files
from cenote.model.paths import Layout
from cenote.security import certificates


class Renewal(msgspec.Struct, frozen=True):
    """A key whose certificate was asked for."""

    key: str
    request: str

    def __repr__(self) -> str:
        return "Renewal(…)"


def make_folder(layout: Layout) -> None:
    """Have the folder of the fleet, which only we can enter."""
    if not layout.fleet.is_dir():
        layout.fleet.mkdir(mode=0o700)
    if layout.fleet.stat().st_mode & 0o777 != 0o700:
        layout.fleet.chmod(0o700)


def write(layout: Layout, key: str, certificate: str, ca_certificate: str) -> None:
    """Write this host's key and certificate, and the fleet's CA certificate.

    The key is last: if a power failure comes in between, ``mend`` finds it.
    """
    make_folder(layout)
    for path, text in (
        (layout.fleet_authority, ca_certificate),
        (layout.fleet_certificate, certificate),
        (layout.fleet_key, key),
    ):
        files.write(path, text.encode(), 0o600, None)
        files.sync(path)


def names(layout: Layout) -> tuple[str, ...]:
    """Return the names in this host's certificate, which say who it is and what it does; none without one."""
    try:
        return certificates.names_of(files.read(layout.fleet_certificate) or b"")
    except ValueError:
        return ()


def mend(layout: Layout) -> None:
    """Go on with a renewal that was cut off between the certificate and its key."""
    content, found = files.read(layout.fleet_renewal), files.read(layout.fleet_certificate)
    if not content or not found:
        return
    try:
        pending = msgspec.json.decode(content, type=Renewal)
        if certificates.is_for_key(found, pending.key.encode()):
            files.write(layout.fleet_key, pending.key.encode(), 0o600, None)
            layout.fleet_renewal.unlink(missing_ok=True)
    except (ValueError, msgspec.DecodeError):
        return  # a part of a file; the certificate is asked for again


def is_due(layout: Layout, now: datetime) -> bool:
    """Return whether to renew this host's certificate; not on a host that has none."""
    found = files.read(layout.fleet_certificate)
    if found is None:
        return False
    try:
        is_whole = certificates.is_for_key(found, files.read(layout.fleet_key) or b"")
        return not is_whole or certificates.validity(found).is_due(now)
    except ValueError:
        return True  # a part of a file, as a power failure may leave it


def renewal(layout: Layout) -> Renewal:
    """Return the key that a certificate is asked for, and the request; they stay until it is there."""
    content = files.read(layout.fleet_renewal)
    if content:
        try:
            return msgspec.json.decode(content, type=Renewal)
        except msgspec.DecodeError:
            pass  # a part of a file
    made = Renewal(*certificates.new_request())
    files.write(layout.fleet_renewal, msgspec.json.encode(made), 0o600, None)
    return made


def take(layout: Layout, key: str, issued: str) -> None:
    """Use a certificate that was issued, and that of the CA behind it; ValueError if it is not of our CA."""
    known = (files.read(layout.fleet_authority) or b"").decode("ascii")
    [_, authority] = certificates.split(issued)
    if not all(certificates.is_issued_by(one.encode(), known) for one in (issued, authority)):
        raise ValueError("what was issued is not of the fleet's CA")
    write(layout, key, issued, authority)
    layout.fleet_renewal.unlink(missing_ok=True)
