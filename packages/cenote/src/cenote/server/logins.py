"""The passwords of the private etcd's users, and what has etcd want them.

They lie in a folder that only the service's account can enter; the API reads its own before it changes to
another account.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from cenote.errors import Misconfigured
from cenote.host import files
from cenote.host.identity import Identity
from cenote.model.paths import Layout
from cenote.model.records import Secret
from cenote.store.access import API, ROOT, Passwords, agent_user, ensure_authentication
from cenote.store.client import EtcdClient, EtcdError, LoginWanted

PASSWORD_BYTES = 32


def ensure_passwords(layout: Layout) -> Passwords:
    """Return the passwords of etcd's users; the first time they are drawn and written."""
    if not layout.keys.is_dir():
        layout.keys.mkdir(mode=0o700, exist_ok=True)
    if layout.keys.stat().st_mode & 0o777 != 0o700:
        layout.keys.chmod(0o700)
    return Passwords(
        root=_ensure(layout.etcd_root_password),
        api=_ensure(layout.etcd_api_password),
        agent=_ensure(layout.etcd_agent_password),
    )


async def require_logins(
    layout: Layout, socket: Path, prefix: str, host: Identity, passwords: Passwords
) -> None:
    """Have etcd want a login, and give each process of this host its rights.

    Misconfigured, with the remedy, when the password of etcd's root is not the one that etcd knows.
    """
    try:
        await ensure_authentication(socket, prefix, host.host_id, passwords)
    except EtcdError as error:
        raise _not_taken(layout, error) from None


def _not_taken(layout: Layout, error: EtcdError) -> Misconfigured:
    return Misconfigured(
        f"etcd does not take the password in {layout.etcd_root_password} ({error.message}); restore that "
        "file from a backup of this data directory"
    )


async def administrator(layout: Layout, socket: Path, passwords: Passwords) -> EtcdClient:
    """Return a client that may do everything: without a login as long as etcd wants none.

    Misconfigured, with the remedy, when the password of etcd's root is not the one that etcd knows.
    """
    client = EtcdClient(socket=socket)
    try:
        await client.revision("/")
    except LoginWanted:
        await client.close()
        client = root_client(socket, passwords)
        try:
            await client.revision("/")
        except EtcdError as error:
            await client.close()
            raise _not_taken(layout, error) from None
    return client


def root_client(socket: Path, passwords: Passwords) -> EtcdClient:
    return EtcdClient(socket=socket, username=ROOT, password=passwords.root)


def api_client(layout: Layout, socket: Path) -> EtcdClient:
    return EtcdClient(socket=socket, username=API, password=_read(layout.etcd_api_password))


def agent_client(layout: Layout, socket: Path, host: Identity) -> EtcdClient:
    user = agent_user(host.host_id)
    return EtcdClient(socket=socket, username=user, password=_read(layout.etcd_agent_password))


def _ensure(path: Path) -> Secret:
    if not files.read(path):
        files.write(path, secrets.token_urlsafe(PASSWORD_BYTES).encode() + b"\n", 0o600, None)
        files.sync(path)  # before etcd knows it, or a power failure would leave one that nobody has
    return _read(path)


def _read(path: Path) -> Secret:
    content = files.read(path)
    if not content:
        raise Misconfigured(f"{path} is missing; start the service again")
    return Secret(content.decode("ascii").strip())
