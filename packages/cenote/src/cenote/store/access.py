"""Who may read and write what in an etcd of ours: a user for the API and one for the agent of each host.

Each step is done only where it is missing, so a start that was cut off anywhere is finished by the next.
That all is there is noted in etcd itself, so that a start finds out by one read, also after a restore.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import TypeAlias
from uuid import UUID

import msgspec

from cenote.model.failover import HostFailover
from cenote.model.record import Secret
from cenote.store.client import EtcdClient, EtcdError, LoginWanted
from cenote.store.etcd_messages import (
    Nothing,
    Permission,
    Role,
    TransactionRequest,
    Users,
    delete,
    delete_prefix,
    prefix_end,
    put,
)
from cenote.store.keys import Keys

ROOT = "root"
API = (
    "api"  # the role of all users of the API; in versions that knew one host only, the name of its user, too
)

FORMER = "access"  # the note of these versions: where it is, one of them has set its rights since

# Makes a client that logs in as a user; as nobody, without a name.
Login: TypeAlias = Callable[[str, Secret | None], EtcdClient]


class Passwords(msgspec.Struct, frozen=True):
    """The passwords of a host's users of etcd; they are on disk before the users are made.

    A host with neither of the roles api and store has none of root, one without the role api none of the API.
    """

    root: Secret | None
    api: Secret | None
    agent: Secret


def api_user(host_id: str) -> str:
    return f"api-{host_id}"


def agent_user(host_id: str) -> str:
    return f"agent-{host_id}"


def failover_user(cluster_id: UUID) -> str:
    """Return the name of the user that Patroni of a cluster's nodes is, and of its role."""
    return HostFailover.username(cluster_id)


def complete(host_id: str) -> str:
    """Return the key of a digest of a host's users and rights; only root can read or write it."""
    return f"access/{host_id}"


async def ensure_authentication(login: Login, prefix: str, host_id: str, passwords: Passwords) -> None:
    """Make the users of a host and their rights, and have etcd want a login from then on."""
    keys = Keys(prefix)
    assert passwords.root is not None
    digest = _digest(passwords, [*_rights_of_agent(keys, host_id), *_rights_of_api(keys)])
    client = login("", None)
    try:
        try:
            users = (await client.administer("user/list", {}, Users)).users
            enabled = False
        except LoginWanted:
            await client.close()
            client = login(ROOT, passwords.root)
            noted = await client.read(complete(host_id))
            is_noted = noted is not None and noted.value == digest
            if is_noted and await client.read(FORMER) is None:
                return
            await _note(client, host_id, b"")
            users = (await client.administer("user/list", {}, Users)).users
            enabled = True
        if not enabled or ROOT not in users:
            await _ensure_user(client, ROOT, ROOT, passwords.root, users)
        await ensure_host(client, prefix, host_id, passwords, login if enabled else None)
        if enabled:
            await _forget_former(client, users)
            await _note(client, host_id, digest)
        else:  # the next start notes it, by a login
            await client.administer("enable", {}, Nothing)
    finally:
        await client.close()


async def ensure_host(
    client: EtcdClient, prefix: str, host_id: str, passwords: Passwords, login: Login | None = None
) -> None:
    """Make a host's users and their rights; ``client`` is root's.

    Passwords that are there are set again, unless ``login`` shows that they are right.
    """
    keys = Keys(prefix)
    users = (await client.administer("user/list", {}, Users)).users
    roles = {API: _rights_of_api(keys), agent_user(host_id): list(_rights_of_agent(keys, host_id))}
    wanted = [(agent_user(host_id), agent_user(host_id), passwords.agent)]
    if passwords.api is not None:
        wanted.append((api_user(host_id), API, passwords.api))
    for user, role, password in wanted:
        await _ensure_user(client, user, role, password, users, login)
        await _ensure_rights(client, role, roles[role])


async def ensure_rights(client: EtcdClient, prefix: str, host_id: str) -> None:
    """Give a host's agent the rights that this version wants it to have, if it has a user.

    It keeps those that it has besides, since its version may be another one, which needs them.
    """
    if agent_user(host_id) in (await client.administer("role/list", {}, _Roles)).roles:
        await _grant(client, agent_user(host_id), list(_rights_of_agent(Keys(prefix), host_id)))


async def ensure_failover_user(client: EtcdClient, keys: Keys, cluster_id: UUID, password: Secret) -> None:
    """Let Patroni of a cluster's nodes in, by this password; it reaches its own cluster's keys alone."""
    user = failover_user(cluster_id)
    users = (await client.administer("user/list", {}, Users)).users
    await _ensure_user(client, user, user, password, users)
    await _ensure_rights(client, user, [_below(keys.failover_of(cluster_id))])


async def forget_failover_user(client: EtcdClient, keys: Keys, cluster_id: UUID) -> None:
    """Remove the login of Patroni of a cluster, and what it kept of it."""
    user = failover_user(cluster_id)
    if user in (await client.administer("user/list", {}, Users)).users:
        await client.administer("user/delete", {"name": user}, Nothing)
    if user in (await client.administer("role/list", {}, _Roles)).roles:
        await client.administer("role/delete", {"role": user}, Nothing)
    folder = keys.failover_of(cluster_id)
    await client.transact(TransactionRequest([], [delete_prefix(folder)], []))


async def hosts_with_users(client: EtcdClient) -> set[str]:
    """Return the ids of the hosts whose agents can log in."""
    users = (await client.administer("user/list", {}, Users)).users
    return {user.removeprefix(agent_user("")) for user in users if user.startswith(agent_user(""))}


async def forget_host(client: EtcdClient, host_id: str) -> None:
    """Remove the users of a host that has left the fleet, so that nothing of it logs in any more."""
    users = (await client.administer("user/list", {}, Users)).users
    for user in (agent_user(host_id), api_user(host_id)):
        if user in users:
            await client.administer("user/delete", {"name": user}, Nothing)
    if agent_user(host_id) in (await client.administer("role/list", {}, _Roles)).roles:
        await client.administer("role/delete", {"role": agent_user(host_id)}, Nothing)


async def _forget_former(client: EtcdClient, users: list[str]) -> None:
    """Remove the API's user of versions that knew one host only."""
    if API in users:
        await client.administer("user/delete", {"name": API}, Nothing)


async def _note(client: EtcdClient, host_id: str, digest: bytes) -> None:
    operations = [put(complete(host_id), digest), *([delete(FORMER)] if digest else [])]
    await client.transact(TransactionRequest([], operations, []))


def _digest(passwords: Passwords, rights: list[Permission]) -> bytes:
    """Passwords are random, so that their digest tells nothing."""
    known = [one and one.reveal() for one in (passwords.root, passwords.api, passwords.agent)]
    return hashlib.sha256(msgspec.json.encode([known, rights])).hexdigest().encode()


def _rights_of_api(keys: Keys) -> list[Permission]:
    return [_below(keys.root), _below(keys.failover)]  # it asks Patroni for switches


def _rights_of_agent(keys: Keys, host_id: str) -> Iterator[Permission]:
    yield _key(keys.marker, "READ")
    for prefix in (
        *(keys.clusters, keys.all_deleted, keys.hosts, keys.removed_hosts),
        *(keys.certificates_of(host_id), keys.ports_of(host_id)),
    ):
        yield _below(prefix, "READ")
    yield _below(keys.failover, "READ")
    for key in (
        keys.fleet_authority,
        keys.admitted(host_id),
        keys.host_certificate(host_id),
        keys.store_member(host_id),
    ):
        yield _key(key, "READ")
    for key in (keys.host(host_id), keys.presence(host_id), keys.host_request(host_id)):
        yield _key(key)
    for prefix in (keys.reports_of(host_id), keys.requests_of(host_id), f"{keys.prefix}marks/{host_id}/"):
        yield _below(prefix)


def _key(key: str, kind: str = "READWRITE") -> Permission:
    return Permission(key.encode(), permType=kind)


def _below(prefix: str, kind: str = "READWRITE") -> Permission:
    return Permission(prefix.encode(), prefix_end(prefix), kind)


async def _ensure_user(
    client: EtcdClient,
    user: str,
    role: str,
    password: Secret,
    users: list[str],
    login: Login | None = None,
) -> None:
    request = {"name": user, "password": password.reveal()}
    if user not in users:
        await client.administer("user/add", request, Nothing)
    elif login is None or not await _can_log_in(login, user, password):
        await client.administer("user/changepw", request, Nothing)
    roles = (await client.administer("role/list", {}, _Roles)).roles
    if role not in roles:
        await client.administer("role/add", {"name": role}, Nothing)
    granted = (await client.administer("user/get", {"name": user}, _Roles)).roles
    if role not in granted:
        await client.administer("user/grant", {"user": user, "role": role}, Nothing)


class _Roles(msgspec.Struct, frozen=True):
    roles: list[str] = []


async def _can_log_in(login: Login, user: str, password: Secret) -> bool:
    client = login(user, password)
    try:
        await client.administer("user/get", {"name": user}, Nothing)
    except EtcdError:
        return False
    finally:
        await client.close()
    return True


async def _grant(client: EtcdClient, role: str, wanted: list[Permission]) -> list[Permission]:
    """Give a role what it has not yet; return the rights that it had."""
    found = (await client.administer("role/get", {"role": role}, Role)).perm
    for right in wanted:
        if right not in found:
            await client.administer("role/grant", {"name": role, "perm": right}, Nothing)
    return found


async def _ensure_rights(client: EtcdClient, role: str, wanted: list[Permission]) -> None:
    for right in await _grant(client, role, wanted):
        if right not in wanted:
            lost = {"role": role, "key": right.key, "range_end": right.range_end}
            await client.administer("role/revoke", lost, Nothing)
