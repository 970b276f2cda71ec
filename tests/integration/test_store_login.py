from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import msgspec
import pytest

from cenote.errors import Unavailable
from cenote.model.record import Secret
from cenote.store import etcd_messages
from cenote.store.client import EtcdClient, EtcdError, LoginWanted, Watched
from cenote.store.etcd_messages import TransactionRequest, put
from cenote.store.process import PrivateEtcd
from tests.support.etcd import back_after, kill, with_etcd

PASSWORD = "correct-horse"


def client_of(etcd: PrivateEtcd, user: str = "agent", password: str = PASSWORD) -> EtcdClient:
    return EtcdClient(socket=etcd.socket, username=user, password=Secret(password))


async def ask(etcd: PrivateEtcd, *calls: tuple[str, object], token: str = "") -> bytes:
    """Call etcd without our client; return the last answer."""
    transport = httpx.AsyncHTTPTransport(uds=str(etcd.socket))
    headers = {"authorization": token} if token else {}
    async with httpx.AsyncClient(transport=transport, headers=headers) as http:
        for path, body in calls:
            answer = await http.post(f"http://etcd/v3/auth/{path}", content=msgspec.json.encode(body))
            assert answer.status_code == httpx.codes.OK, answer.text
    return answer.content


async def as_root(etcd: PrivateEtcd, *calls: tuple[str, object]) -> None:
    login = await ask(etcd, ("authenticate", {"name": "root", "password": PASSWORD}))
    token = msgspec.json.decode(login, type=etcd_messages.AuthenticateResponse).token
    await ask(etcd, *calls, token=token)


def right(prefix: str, kind: str = "READWRITE") -> tuple[str, object]:
    span = etcd_messages.Range(prefix.encode(), etcd_messages.prefix_end(prefix))
    permission = {"permType": kind, "key": span.key, "range_end": span.range_end}
    return "role/grant", {"name": "agent", "perm": permission}


def with_logins(scenario: Callable[[PrivateEtcd], Awaitable[None]]) -> None:
    """Run the scenario with an etcd whose user ``agent`` may read clusters/ and write reports/a/."""

    async def prepared(etcd: PrivateEtcd) -> None:
        for name in ("root", "agent"):
            await ask(
                etcd,
                ("user/add", {"name": name, "password": PASSWORD}),
                ("role/add", {"name": name}),
                ("user/grant", {"user": name, "role": name}),
            )
        await ask(etcd, right("/clusters/", "READ"), right("/reports/a/"), ("enable", {}))
        await scenario(etcd)

    with_etcd(prepared)


async def write(client: EtcdClient, key: str) -> None:
    await client.transact(TransactionRequest([], [put(key, b"word")], []))


async def first(watch: AsyncIterator[Watched], count: int) -> AsyncIterator[Watched]:
    async for told in watch:
        yield told
        count -= 1
        if not count:
            return


def test_a_user_reaches_what_it_has_a_right_to_and_nothing_else() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        client = client_of(etcd)
        await write(client, "/reports/a/1")
        assert await client.read("/reports/a/1")
        assert await client.read("/clusters/1") is None
        for refused in (
            write(client, "/tokens/x"),
            write(client, "/clusters/1"),
            write(client, "/reports/b/1"),
        ):
            with pytest.raises(EtcdError, match="user agent lacks the right"):
                await refused
        for prefix in ("/logins/", "/reports/b/", "/"):
            with pytest.raises(EtcdError, match="user agent lacks the right"):
                await client.revision(prefix)
        await client.close()

    with_logins(scenario)


def test_without_a_login_or_with_a_wrong_password_nothing_is_done() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        nobody, wrong = EtcdClient(socket=etcd.socket), client_of(etcd, password="wrong")
        with pytest.raises(LoginWanted):
            await write(nobody, "/reports/a/1")
        with pytest.raises(LoginWanted):
            await nobody.revision("/")
        with pytest.raises(EtcdError, match="invalid user ID or password") as caught:
            await write(wrong, "/reports/a/1")
        assert "wrong" not in str(caught.value)
        await nobody.close()
        await wrong.close()

    with_logins(scenario)


def test_an_etcd_that_wants_a_login_is_adopted_and_started() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        before = etcd.pid
        await etcd.start()
        assert etcd.pid == before
        await etcd.stop()
        await etcd.start()

    with_logins(scenario)


def test_many_calls_whose_token_is_refused_log_in_again_once() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        client = client_of(etcd)
        await write(client, "/reports/a/1")
        # etcd forgets the tokens of a user whose password is changed, as of one that was silent for long.
        await as_root(etcd, ("user/changepw", {"name": "agent", "password": PASSWORD}))
        logins = 0

        async def count(request: httpx.Request) -> None:
            nonlocal logins
            logins += request.url.path == "/v3/auth/authenticate"

        client._http.clients[True].event_hooks["request"].append(count)
        await asyncio.gather(*(write(client, f"/reports/a/{number}") for number in range(20)))
        assert logins == 1
        await client.close()

    with_logins(scenario)


def test_rights_that_change_under_the_calls_fail_none() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        client = client_of(etcd)

        async def work() -> None:
            for number in range(60):
                await write(client, f"/reports/a/{number}")

        async def change() -> None:
            for number in range(20):
                await as_root(etcd, right(f"/more/{number}/"))

        await asyncio.gather(work(), work(), work(), change())
        await client.close()

    with_logins(scenario)


def test_a_watch_with_a_refused_token_succeeds_the_second_time() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        client = client_of(etcd)
        await write(client, "/reports/a/1")
        await as_root(etcd, ("user/changepw", {"name": "agent", "password": PASSWORD}))
        async with asyncio.timeout(5):
            with pytest.raises(Unavailable):
                async for _ in client.watch("/reports/a/", 0):
                    pass
            watch = client.watch("/reports/a/", 1)
            assert [len(told.events) async for told in first(watch, 2)][-1] == 1
        await watch.aclose()
        await client.close()

    with_logins(scenario)


def test_a_watch_beyond_the_rights_ends_with_words() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        client = client_of(etcd)
        async with asyncio.timeout(5):
            with pytest.raises(Unavailable, match="ended the watch"):
                async for _ in client.watch("/", 0):
                    pass
        await client.close()

    with_logins(scenario)


def test_nothing_acknowledged_is_lost_when_etcd_is_killed() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        watching = asyncio.create_task(etcd.watch())
        client = client_of(etcd)
        acknowledged = []
        killed = 0
        for number in range(60):
            if number == 20:
                killed = kill(etcd)
            try:
                await write(client, f"/reports/a/{number}")
                acknowledged.append(number)
            except Unavailable:
                await asyncio.sleep(0.02)
        await back_after(killed, etcd)
        await etcd.start()
        for number in acknowledged:
            assert await client.read(f"/reports/a/{number}")
        assert len(acknowledged) >= 20
        await write(client, "/reports/a/last")
        watching.cancel()
        await client.close()

    with_logins(scenario)
