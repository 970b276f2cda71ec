"""OpenSSH's server as it is in Debian, with keys and a port of its own, and SFTP alone."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import pwd
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.listening_server import ListeningServer
from tests.support.ports import free_range, give_back

PROGRAMS = Path(__file__).parents[2] / "build" / "programs"
_CONFIGURATION = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host-key
AuthorizedKeysFile {folder}/client-key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PidFile none
Subsystem sftp internal-sftp
ForceCommand internal-sftp
"""


@dataclass(kw_only=True)
class SshServer(ListeningServer):
    """It runs as ``account`` and lets in that one alone, by ``client_key``; ``root`` is its directory."""

    account: str

    @property
    def root(self) -> Path:
        return self.folder / "files"

    @property
    def client_key(self) -> Path:
        return self.folder / "client-key"

    @property
    def host_key(self) -> str:
        """The public key of the server, as it stands in a file of known hosts."""
        return " ".join((self.folder / "host-key.pub").read_text().split()[:2])

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the server's key, as ``ssh-keygen -l`` prints it."""
        return fingerprint_of(self.host_key)

    def url(self, directory: str, **query: str) -> str:
        """The URL of a repository, by default with the right fingerprint."""
        given = query or {"fingerprint": self.fingerprint}
        text = "&".join(f"{name.replace('_', '-')}={value}" for name, value in given.items())
        return f"sftp://{self.account}@127.0.0.1:{self.port}{self.root}/{directory}?{text}"

    def start(self) -> None:
        libraries = sorted({str(path.parent) for path in PROGRAMS.glob("**/libwrap.so.0")})
        self.launch(
            (_program(), "-D", "-e", "-f", self.folder / "configuration"),
            {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": ":".join(libraries)},
            says="Server listening",
            user=self.account,
            group=pwd.getpwnam(self.account).pw_gid,
            extra_groups=[] if os.geteuid() == 0 else None,
        )


def fingerprint_of(public_key: str) -> str:
    digest = hashlib.sha256(base64.b64decode(public_key.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def make_key(path: Path) -> Path:
    """Make a key pair without a passphrase."""
    subprocess.run([_named("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


@contextlib.contextmanager
def ssh_server(folder: Path, account: str) -> Iterator[SshServer]:
    """A server that runs as an account, or as ours if that is not root; the test is skipped without sshd."""
    _program()
    account = account if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    made = SshServer(folder, free_range(1), account=account)
    for name in ("host-key", "client-key"):
        make_key(folder / name)
    (folder / "configuration").write_text(_CONFIGURATION.format(port=made.port, folder=folder))
    made.root.mkdir()
    if os.geteuid() == 0:
        ids = pwd.getpwnam(account)
        for path in (made.root, folder / "host-key"):
            os.chown(path, ids.pw_uid, ids.pw_gid)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        give_back(made.port, 1)


def _program() -> str:
    return _named("sshd")


def _named(name: str) -> str:
    for folder in (PROGRAMS / "usr/sbin", PROGRAMS / "usr/bin", Path("/usr/sbin"), Path("/usr/bin")):
        if (folder / name).exists():
            return str(folder / name)
    pytest.skip(f"needs {name}: make setup-tests")
