"""Who may read and write what in the private etcd: one user for the API and one for each host's agent.

Each step is done only where it is missing, so a start that was cut off anywhere is finished by the next.
That all is there is noted in etcd itself, so that a start finds out by one read, also after a restore.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from cenote.model.records import Secret
from cenote.store.client import EtcdClient, EtcdError, LoginWanted
from cenote.store.etcd_messages import (
    Nothing,
    Permission,
    Role,
    TransactionRequest,
    Users,
    prefix_end,
    put,
)
from cenote.store.keys import Keys

ROOT, API = "root", "api"
COMPLETE = "access"  # the key with a digest of the users and rights; only root can read or write it


class Passwords(msgspec.Struct, frozen=True):
    """The passwords of etcd's users; they are on disk before the users are made."""

    root: Secret
    api: Secret
    agent: Secret


def agent_user(host_id: str) -> str:
    return f"agent-{host_id}"


async def ensure_authentication(socket: Path, prefix: str, host_id: str, passwords: Passwords) -> None:
    """Make the users and their rights, and have etcd want a login from then on."""
    keys, agent = Keys(prefix), agent_user(host_id)
    wanted = {ROOT: passwords.root, API: passwords.api, agent: passwords.agent}
    rights = {API: [_below(keys.root)], agent: list(_rights_of_agent(keys, host_id))}
    digest = _digest(wanted, rights)
    client = EtcdClient(socket=socket)
    try:
        try:
            users = (await client.administer("user/list", {}, Users)).users
            enabled = False
        except LoginWanted:
            await client.close()
            client = EtcdClient(socket=socket, username=ROOT, password=passwords.root)
            complete = await client.read(COMPLETE)
            if complete is not None and complete.value == digest:
                return
            await _note(client, b"")
            users = (await client.administer("user/list", {}, Users)).users
            enabled = True
        for user, password in wanted.items():
            await _ensure_user(client, socket, user, password, exists=user in users, enabled=enabled)
        for role, permissions in rights.items():
            await _ensure_rights(client, role, permissions)
        if enabled:
            await _note(client, digest)
        else:  # the next start notes it, by a login
            await client.administer("enable", {}, Nothing)
    finally:
        await client.close()


async def _note(client: EtcdClient, digest: bytes) -> None:
    await client.transact(TransactionRequest([], [put(COMPLETE, digest)], []))


def _digest(users: dict[str, Secret], rights: dict[str, list[Permission]]) -> bytes:
    """Passwords are random, so that their digest tells nothing."""
    passwords = {user: password.reveal() for user, password in users.items()}
    return hashlib.sha256(msgspec.json.encode([passwords, rights])).hexdigest().encode()


def _rights_of_agent(keys: Keys, host_id: str) -> Iterator[Permission]:
    yield _key(keys.marker, "READ")
    yield _key(keys.removed_host(host_id), "READ")
    for prefix in (keys.clusters, keys.all_deleted, keys.certificates_of(host_id), keys.ports_of(host_id)):
        yield _below(prefix, "READ")
    for key in (keys.host(host_id), keys.presence(host_id)):
        yield _key(key)
    for prefix in (keys.reports_of(host_id), keys.requests_of(host_id), f"{keys.prefix}marks/{host_id}/"):
        yield _below(prefix)


def _key(key: str, kind: str = "READWRITE") -> Permission:
    return Permission(key.encode(), permType=kind)


def _below(prefix: str, kind: str = "READWRITE") -> Permission:
    return Permission(prefix.encode(), prefix_end(prefix), kind)


async def _ensure_user(
    client: EtcdClient, socket: Path, user: str, password: Secret, *, exists: bool, enabled: bool
) -> None:
    request = {"name": user, "password": password.reveal()}
    if not exists:
        await client.administer("user/add", request, Nothing)
    elif not enabled or not await _can_log_in(socket, user, password):
        await client.administer("user/changepw", request, Nothing)
    roles = (await client.administer("role/list", {}, _Roles)).roles
    if user not in roles:
        await client.administer("role/add", {"name": user}, Nothing)
    granted = (await client.administer("user/get", {"name": user}, _Roles)).roles
    if user not in granted:
        await client.administer("user/grant", {"user": user, "role": user}, Nothing)


class _Roles(msgspec.Struct, frozen=True):
    roles: list[str] = []


async def _can_log_in(socket: Path, user: str, password: Secret) -> bool:
    client = EtcdClient(socket=socket, username=user, password=password)
    try:
        await client.administer("user/get", {"name": user}, Nothing)
    except EtcdError:
        return False
    finally:
        await client.close()
    return True


async def _ensure_rights(client: EtcdClient, role: str, wanted: list[Permission]) -> None:
    found = (await client.administer("role/get", {"role": role}, Role)).perm
    for right in wanted:
        if right not in found:
            await client.administer("role/grant", {"name": role, "perm": right}, Nothing)
    for right in found:
        if right not in wanted:
            lost = {"role": role, "key": right.key, "range_end": right.range_end}
            await client.administer("role/revoke", lost, Nothing)
