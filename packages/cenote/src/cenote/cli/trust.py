"""``cenote trust``: has this machine's programs and browsers trust the API's certificate.

What is added is no copy of the CA: it is a certificate of the same key that is good for the names of this
service only, so a stolen key of the CA is of no use for another site.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import click

from cenote.cli.data_dir import data_dir
from cenote.errors import Misconfigured
from cenote.host import files
from cenote.model import environment
from cenote.model.paths import Layout
from cenote.security import certificates

# Folder of an administrator's CAs, and the command that takes them: Debian's, Fedora's.
_SYSTEM = (
    (Path("/usr/local/share/ca-certificates"), "update-ca-certificates"),
    (Path("/etc/pki/ca-trust/source/anchors"), "update-ca-trust"),
)
# Databases of browsers below a home: Chromium's, Firefox's, and those of their snaps.
_BROWSERS = (
    ".pki/nssdb",
    ".mozilla/firefox/*",
    "snap/chromium/current/.pki/nssdb",
    "snap/firefox/common/.mozilla/firefox/*",
)
_FORMER_NAME = "Cenote"  # of the CA of every installation
_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "brave-browser")


@dataclass(frozen=True, slots=True)
class _Authority:
    """What is added: its nickname and file name tell it from those of other installations."""

    nickname: str
    file_name: str
    fingerprint: str  # of the CA's own certificate, as 'cenote quickstart' prints it
    pem: str
    names: tuple[str, ...]


@click.command()
@data_dir
@click.option("--remove", is_flag=True, help="Remove it again.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(layout: Layout, remove: bool, yes: bool) -> None:
    """Have this machine's programs and browsers trust the API's certificate.

    As root: the system's CA certificates, which curl, Python, Ruby and Go read.  As a user: the databases of
    your Chromium and Firefox, with certutil.  What is added is good for the names of this service only.
    """
    authority = _authority(layout)
    click.echo(f"CA        {authority.nickname}")
    click.echo(f"SHA-256   {authority.fingerprint}")
    click.echo(f"good for  {', '.join(authority.names)}")
    if not yes:
        click.confirm("Remove it?" if remove else "Trust it for these names?", abort=True)
    done = [_system(authority, remove), *_browsers(authority, remove)]
    if not any(done):
        raise Misconfigured("nothing was changed; see above")


def _authority(layout: Layout) -> _Authority:
    try:
        ca, key, leaf = (
            files.read(path) for path in (layout.authority, layout.authority_key, layout.api_certificate)
        )
    except PermissionError as error:
        raise Misconfigured(
            f"{error.filename} belongs to another user; run this as that user, or as root"
        ) from None
    if not (ca and key and leaf):
        raise Misconfigured(
            f"there is no certificate of Cenote's own CA in {layout.data_dir}; start the service, or set "
            "--data-dir"
        )
    try:
        names = certificates.names_of(leaf)
        pem = certificates.constrained_authority(ca.decode("ascii"), key, names)
        id = certificates.key_id(ca)
        name, fingerprint = certificates.common_name(ca), certificates.fingerprint(ca)
    except ValueError:
        raise Misconfigured(f"the certificates in {layout.data_dir} are damaged") from None
    nickname = f"{name} ({id})" if name == _FORMER_NAME else name
    return _Authority(nickname, f"cenote-{id}.crt", fingerprint, pem, names)


def _system(authority: _Authority, remove: bool) -> bool:
    """Add it to the system's CA certificates, or remove it; return whether that was done."""
    known = [(folder, update) for folder, update in _SYSTEM if folder.parent.is_dir() and _program(update)]
    if not known:
        click.echo("system    not changed: neither update-ca-certificates nor update-ca-trust is installed")
        return False
    folder, update = known[0]
    path = folder / authority.file_name
    if os.geteuid() != 0:
        click.echo(
            f"system    not changed: only root can; as root, with this --data-dir, it is written to {path}"
        )
        return False
    if remove and not path.exists():
        click.echo(f"system    {path} is not there")
        return False
    if remove:
        files.remove(path)
    else:
        files.make_directory(folder, 0o755, None)
        files.write(path, authority.pem.encode("ascii"), 0o644, None)
    # --fresh: removes the links to certificates that are gone.
    options = ["--fresh"] if remove and update == "update-ca-certificates" else []
    _run(update, *options)
    click.echo(f"system    {'removed' if remove else 'wrote'} {path} and ran {update}")
    return True


def _browsers(authority: _Authority, remove: bool) -> list[bool]:
    """Add it to the databases of this user's browsers, or remove it; return for each if that was done."""
    home = Path.home()
    if not home.is_dir():
        click.echo(f"browsers  not changed: {home}, the home of this user, does not exist")
        return []
    if home.stat().st_uid != os.geteuid():  # as with sudo -E: its owner could lead us elsewhere
        click.echo(f"browsers  not changed: {home} belongs to another user; run this as that user, too")
        return []
    folders = [path for pattern in _BROWSERS for path in sorted(home.glob(pattern))]
    found = [path for path in folders if (path / "cert9.db").exists()]
    own = home / ".pki/nssdb"
    has_chromium = any(map(_program, _CHROMIUMS))
    if not found and not (has_chromium and not remove):
        click.echo(f"browsers  no database of Firefox or Chromium in {home}")
        return []
    if _program("certutil") is None:
        click.echo("browsers  not changed: certutil is missing; install the package libnss3-tools")
        return []
    if has_chromium and own not in found and not remove:
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        _run("certutil", "-N", "-d", f"sql:{own}", "--empty-password")
        found.insert(0, own)
    return [_database(path, authority, remove) for path in found]


def _database(path: Path, authority: _Authority, remove: bool) -> bool:
    database = ("-d", f"sql:{path}", "-n", authority.nickname)
    is_there = (
        subprocess.run(
            [_program("certutil") or "certutil", "-L", *database], capture_output=True, check=False
        ).returncode
        == 0
    )
    if is_there:  # it may be good for other names than before
        _run("certutil", "-D", *database)
    elif remove:
        click.echo(f"browser   not in {path}")
        return False
    if not remove:
        _run("certutil", "-A", *database, "-t", "C,,", typed=authority.pem)
    click.echo(f"browser   {'removed from' if remove else 'added to'} {path}; restart the browser")
    return True


def _program(name: str) -> str | None:
    path = os.pathsep.join(filter(None, (os.environ.get("PATH"), environment.PATH)))
    return shutil.which(name, path=path)


def _run(name: str, *arguments: str, typed: str | None = None) -> None:
    """Run a program; Misconfigured with what it printed if it fails."""
    done = subprocess.run(
        [_program(name) or name, *arguments], input=typed, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Misconfigured(f"{name} failed: {(done.stderr or done.stdout).strip() or done.returncode}")
