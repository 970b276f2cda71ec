from __future__ import annotations

from uuid import uuid4

import pytest

from cenote.model.record import Secret
from cenote.store.access import (
    Login,
    Passwords,
    agent_user,
    api_user,
    complete,
    ensure_authentication,
    ensure_failover_user,
    ensure_host,
    failover_user,
    forget_failover_user,
    forget_host,
)
from cenote.store.client import EtcdClient, EtcdError, LoginWanted
from cenote.store.etcd_messages import Nothing, TransactionRequest, put
from cenote.store.keys import Keys
from cenote.store.process import PrivateEtcd
from tests.support.etcd import with_etcd

PASSWORDS = Passwords(Secret("root's"), Secret("api's"), Secret("agent's"))
HOST = "11111111-1111-4111-8111-111111111111"


def login(etcd: PrivateEtcd) -> Login:
    return lambda user, password: EtcdClient(socket=etcd.socket, username=user, password=password)


async def write(client: EtcdClient, key: str) -> None:
    await client.transact(TransactionRequest([], [put(f"/cenote/v2/{key}", b"word")], []))


async def check(etcd: PrivateEtcd) -> None:
    agent = EtcdClient(socket=etcd.socket, username=agent_user(HOST), password=PASSWORDS.agent)
    api = EtcdClient(socket=etcd.socket, username=api_user(HOST), password=PASSWORDS.api)
    nobody = EtcdClient(socket=etcd.socket)
    for key in (
        f"reports/{HOST}/c/n",
        f"presence/{HOST}",
        f"hosts/{HOST}",
        f"csr/{HOST}/c",
        f"fleet/requests/{HOST}",
    ):
        await write(agent, key)
    for key in ("tokens/x", "clusters/x", "reports/other/c/n", f"hosts/{HOST}x", f"certificates/{HOST}/c"):
        with pytest.raises(EtcdError, match="lacks the right"):
            await write(agent, key)
    with pytest.raises(EtcdError, match="lacks the right"):
        await agent.revision("/cenote/v2/logins/")
    await agent.revision("/cenote/v2/hosts/")
    await agent.revision("/cenote/v2/fleet/removed/")
    with pytest.raises(EtcdError, match="lacks the right"):
        await write(agent, f"fleet/removed/{HOST}")
    for key in ("fleet/authority", f"fleet/certificates/{HOST}", f"fleet/members/{HOST}"):
        await agent.read(f"/cenote/v2/{key}")
        with pytest.raises(EtcdError, match="lacks the right"):
            await write(agent, key)
    await agent.read(f"/cenote-patroni/{HOST}/leader")
    with pytest.raises(EtcdError, match="lacks the right"):
        await agent.transact(TransactionRequest([], [put(f"/cenote-patroni/{HOST}/leader", b"node-9")], []))
    await write(api, "tokens/x")
    with pytest.raises(EtcdError, match="lacks the right"):
        await api.administer("disable", {}, Nothing)
    with pytest.raises(LoginWanted):
        await write(nobody, "tokens/x")
    for client in (agent, api, nobody):
        await client.close()


def test_each_user_has_its_own_rights_also_after_further_starts() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        for _ in range(3):  # the second one notes that all is there, and the third one reads that
            await ensure_authentication(login(etcd), "/cenote/", HOST, PASSWORDS)
            await check(etcd)

    with_etcd(scenario)


@pytest.mark.parametrize("steps", range(1, 16, 2))
def test_what_was_cut_off_is_finished(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        left, administer = steps, EtcdClient.administer

        async def cut_off(client: EtcdClient, *arguments: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyError("cut off")
            return await administer(client, *arguments)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(EtcdClient, "administer", cut_off)
            with pytest.raises(KeyError):
                await ensure_authentication(login(etcd), "/cenote/", HOST, PASSWORDS)
        await ensure_authentication(login(etcd), "/cenote/", HOST, PASSWORDS)
        await check(etcd)

    with_etcd(scenario)


def test_a_password_that_was_lost_is_replaced() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        lost = Passwords(PASSWORDS.root, Secret("another"), Secret("another"))
        await ensure_authentication(login(etcd), "/cenote/", HOST, lost)
        await ensure_authentication(login(etcd), "/cenote/", HOST, PASSWORDS)
        await check(etcd)

    with_etcd(scenario)


def test_only_root_can_say_that_the_rights_are_complete() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        for _ in range(2):
            await ensure_authentication(login(etcd), "/cenote/", HOST, PASSWORDS)
        for user, password in ((api_user(HOST), PASSWORDS.api), (agent_user(HOST), PASSWORDS.agent)):
            client = EtcdClient(socket=etcd.socket, username=user, password=password)
            with pytest.raises(EtcdError, match="lacks the right"):
                await client.transact(TransactionRequest([], [put(complete(HOST), b"yes")], []))
            await client.close()

    with_etcd(scenario)


def test_what_is_complete_takes_no_administration(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        for _ in range(2):
            await ensure_authentication(login(etcd), "/cenote/", HOST, PASSWORDS)
        asked: list[object] = []
        administer = EtcdClient.administer

        async def recorded(client: EtcdClient, action: str, *arguments: object) -> object:
            asked.append(action)
            return await administer(client, action, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(EtcdClient, "administer", recorded)
        await ensure_authentication(login(etcd), "/cenote/", HOST, PASSWORDS)
        assert asked == ["user/list"]  # refused without a login
        other = Passwords(PASSWORDS.root, PASSWORDS.api, Secret("another"))
        await ensure_authentication(login(etcd), "/cenote/", HOST, other)
        await ensure_authentication(login(etcd), "/cenote/", HOST, PASSWORDS)
        monkeypatch.undo()
        await check(etcd)

    with_etcd(scenario)


OTHER = "22222222-2222-4222-8222-222222222222"


def test_another_host_has_users_of_its_own_until_it_leaves() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        await ensure_authentication(login(etcd), "/cenote/", HOST, PASSWORDS)
        root = login(etcd)("root", PASSWORDS.root)
        given = Passwords(None, None, Secret("its own"))
        for _ in range(2):  # an answer that was lost is given again
            await ensure_host(root, "/cenote/", OTHER, given)
        agent = login(etcd)(agent_user(OTHER), given.agent)
        await write(agent, f"reports/{OTHER}/c/n")
        with pytest.raises(EtcdError, match="lacks the right"):
            await write(agent, f"reports/{HOST}/c/n")
        await check(etcd)
        for _ in range(2):
            await forget_host(root, OTHER)
        with pytest.raises(EtcdError):
            await write(agent, f"reports/{OTHER}/c/n")
        for client in (root, agent):
            await client.close()

    with_etcd(scenario)


def test_the_user_of_a_version_that_knew_one_host_is_taken_over() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        await ensure_authentication(login(etcd), "/cenote/", HOST, PASSWORDS)
        root = login(etcd)("root", PASSWORDS.root)
        await root.administer("user/add", {"name": "api", "password": "former"}, Nothing)
        await root.administer("user/grant", {"user": "api", "role": "api"}, Nothing)
        await ensure_authentication(login(etcd), "/cenote/", HOST, PASSWORDS)
        await check(etcd)
        former = login(etcd)("api", Secret("former"))
        with pytest.raises(EtcdError):
            await write(former, "tokens/x")
        for client in (root, former):
            await client.close()

    with_etcd(scenario)


def test_patroni_of_a_cluster_reaches_its_own_keys_alone() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        await ensure_authentication(login(etcd), "/cenote/", HOST, PASSWORDS)
        root, keys = login(etcd)("root", PASSWORDS.root), Keys("/cenote/")
        ours, other, password = uuid4(), uuid4(), Secret("drawn")
        await ensure_failover_user(root, keys, ours, password)
        await ensure_failover_user(root, keys, ours, password)  # again, after it was cut off
        patroni, late = (login(etcd)(failover_user(ours), password) for _ in range(2))
        own = f"{keys.failover_of(ours)}leader"
        await patroni.transact(TransactionRequest([], [put(own, b"node-1")], []))
        for key in (f"{keys.failover_of(other)}leader", keys.cluster(ours), keys.host(HOST)):
            with pytest.raises(EtcdError, match="lacks the right"):
                await patroni.read(key)
            with pytest.raises(EtcdError, match="lacks the right"):
                await patroni.transact(TransactionRequest([], [put(key, b"node-1")], []))
        await forget_failover_user(root, keys, ours)
        await forget_failover_user(root, keys, ours)
        assert await root.read(own) is None
        with pytest.raises(EtcdError):
            await late.read(own)
        for client in (root, patroni, late):
            await client.close()

    with_etcd(scenario)
