"""s3rver, which speaks S3 and keeps buckets in a folder, behind TLS with a certificate of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from cenote.security import certificates
from tests.support import npm
from tests.support.listening_server import ListeningServer
from tests.support.ports import free_range, give_back
from tests.support.service import clean_environment

BUCKET = "backups"
KEY, SECRET = "S3RVER", "S3RVER"  # the only ones that s3rver knows


class S3Server(ListeningServer):
    @property
    def authority(self) -> Path:
        """The CA of its certificate."""
        return self.folder / "ca.crt"

    @property
    def bucket(self) -> Path:
        return self.folder / "files" / BUCKET

    def url(self, prefix: str, port: int | None = None) -> str:
        """The URL of a repository, by default at the server's own port."""
        endpoint = f"localhost:{port or self.port}"
        return f"s3://{BUCKET}/{prefix}?endpoint={endpoint}&uri-style=path&ca={self.authority}"

    def credentials(self, key: str = KEY, secret: str = SECRET) -> Path:
        """A file for ``--backups-credentials``; s3rver refuses an unknown key, and takes any secret."""
        path = self.folder / f"credentials-{len(list(self.folder.iterdir()))}"
        path.write_text(f"key = {key}\nsecret = {secret}\n")
        path.chmod(0o600)
        return path

    def start(self) -> None:
        program = npm.package("s3rver", "3.7.1") / "bin" / "s3rver.js"
        command = (
            *(npm.node(), program, "--address=127.0.0.1", f"--port={self.port}"),
            *(f"--directory={self.folder / 'files'}", "--configure-bucket", BUCKET),
            *(f"--key={self.folder / 'server.key'}", f"--cert={self.folder / 'server.crt'}"),
        )
        self.launch(command, clean_environment(), says="listening on")


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """A server with an empty bucket; the test is skipped where it cannot be had from npm."""
    made = S3Server(folder, free_range(1))
    certificate, key = certificates.new_authority("S3")
    made.authority.write_text(certificate)
    issued = certificates.issue(certificate, key, ["localhost"])
    for name in ("server.crt", "server.key"):  # Node.js finds each in a file that has both
        (folder / name).write_bytes(issued)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        give_back(made.port, 1)
