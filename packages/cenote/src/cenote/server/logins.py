"""The passwords of etcd's users, and what has etcd want them.

They lie in a folder that only the service's account can enter; the API reads its own before it changes to
another account.
"""

from __future__ import annotations

from pathlib import Path

from cenote.errors import Misconfigured
from cenote.host import files, identity
from cenote.host.identity import Identity
from cenote.model.paths import Layout
from cenote.model.record import Secret
from cenote.store.access import ROOT, Login, Passwords, api_user, ensure_authentication
from cenote.store.client import EtcdClient, EtcdError, LoginWanted
from cenote.store.door import drawn
from cenote.store.retry import retrying


def ensure_passwords(layout: Layout) -> Passwords:
    """Return the passwords of etcd's users; the first time they are drawn and written."""
    _ensure_folder(layout)
    paths = (layout.etcd_root_password, layout.etcd_api_password, layout.etcd_agent_password)
    root, api, agent = map(_ensure, paths)
    return Passwords(root=root, api=api, agent=agent)


def write_passwords(layout: Layout, passwords: Passwords) -> None:
    """Write the passwords that a host was given when it joined."""
    _ensure_folder(layout)
    for path, password in (
        (layout.etcd_root_password, passwords.root),
        (layout.etcd_api_password, passwords.api),
        (layout.etcd_agent_password, passwords.agent),
    ):
        if password is not None:
            _write(path, password)


async def require_logins(
    layout: Layout, login: Login, prefix: str, host: Identity, passwords: Passwords
) -> None:
    """Have etcd want a login, and give each process of this host its rights.

    Misconfigured, with the remedy, when the password of etcd's root is not the one that etcd knows.
    """
    try:
        await ensure_authentication(login, prefix, host.host_id, passwords)
    except EtcdError as error:
        raise _not_taken(layout, error) from None


def _not_taken(layout: Layout, error: EtcdError) -> Misconfigured:
    return Misconfigured(
        f"etcd does not take the password in {layout.etcd_root_password} ({error.message}); restore that "
        "file from a backup of this data directory"
    )


async def administrator(layout: Layout, login: Login, passwords: Passwords) -> EtcdClient:
    """Return a client that may do everything: without a login as long as etcd wants none.

    Misconfigured, with the remedy, when the password of etcd's root is not the one that etcd knows.
    """
    client = login("", None)
    try:
        try:
            await retrying(lambda: client.revision("/"))
        except LoginWanted:
            await client.close()
            client = login(ROOT, passwords.root)
            await retrying(lambda: client.revision("/"))
    except EtcdError as error:
        await client.close()
        raise _not_taken(layout, error) from None
    except BaseException:
        await client.close()
        raise
    return client


def root_client(socket: Path, passwords: Passwords) -> EtcdClient:
    """Return a client that may do everything, of the etcd of this host alone."""
    return EtcdClient(socket=socket, username=ROOT, password=passwords.root)


def api_client(layout: Layout, socket: Path) -> EtcdClient:
    """Return a client with the rights of the API, of the etcd of this host alone."""
    known = identity.read(layout)
    user = "" if known is None else api_user(known.host_id)
    return EtcdClient(socket=socket, username=user, password=read(layout.etcd_api_password))


def read(path: Path) -> Secret:
    content = files.read(path)
    if not content:
        raise Misconfigured(f"{path} is missing; start the service again")
    return Secret(content.decode("ascii").strip())


def _ensure_folder(layout: Layout) -> None:
    if not layout.keys.is_dir():
        layout.keys.mkdir(mode=0o700, exist_ok=True)
    if layout.keys.stat().st_mode & 0o777 != 0o700:
        layout.keys.chmod(0o700)


def _ensure(path: Path) -> Secret:
    if not files.read(path):
        _write(path, drawn())
    return read(path)


def _write(path: Path, password: Secret) -> None:
    files.write(path, password.reveal().encode() + b"\n", 0o600, None)
    files.sync(path)  # before etcd knows it, or a power failure would leave one that nobody has
