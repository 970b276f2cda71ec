"""The files of the API's certificate and key, as the supervisor reads them: bytes, without understanding."""

from __future__ import annotations

import os
from pathlib import Path

from cenote.errors import Misconfigured
from cenote.model.paths import Layout
from cenote.server.child import LARGEST, Certificate
from cenote.server.settings import ServeSettings

Stamp = tuple[tuple[int, int, int, int] | None, ...]


class CertificateFiles:
    """Files are replaced one after the other, so they count as changed once a look finds them settled."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._paths = certificate, key
        self._looked: Stamp = ()
        self._taken: Stamp = ()

    @classmethod
    def of(cls, settings: ServeSettings, layout: Layout) -> CertificateFiles:
        """Return the files of the user, or else those that Cenote issues."""
        certificate = settings.certificate or layout.api_certificate
        return cls(certificate, settings.key or certificate)

    def read(self) -> Certificate:
        """Return the pair as it is; Misconfigured when a file cannot be read."""
        self._taken = self._looked = self._stamp()
        try:
            certificate, key = (path.read_bytes() for path in self._paths)
        except OSError as error:
            raise Misconfigured(f"{error.filename} cannot be read: {error.strerror}") from None
        if len(certificate) + len(key) > LARGEST // 2:
            raise Misconfigured(
                f"{self._paths[0]} and {self._paths[1]} are too large for a certificate and key"
            )
        return Certificate(certificate, key)

    def settle(self) -> None:
        """Take the files as they are for known, without reading them."""
        self._taken = self._looked = self._stamp()

    def have_changed(self) -> bool:
        """Return whether there is a pair to be read again."""
        before, self._looked = self._looked, self._stamp()
        return self._looked not in (self._taken, ()) and self._looked == before

    def _stamp(self) -> Stamp:
        return tuple(_stamp(path) for path in self._paths)


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
