"""An etcd of somebody else's: over TLS, with a user and a password, at one of several addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from cenote.errors import Misconfigured, Unavailable
from cenote.model.record import Secret
from cenote.store import EtcdClient, Store, retry
from tests.support.etcd import bare_cluster
from tests.support.outside import PASSWORD, Outside, outside_etcd


def with_outside(scenario: Callable[[Outside], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with outside_etcd() as outside:
            await scenario(outside)

    asyncio.run(whole())


def gateway_to(outside: Outside, *, password: str = PASSWORD) -> EtcdClient:
    """The first of its two addresses leads nowhere."""
    return EtcdClient(
        urls=[outside.dead_url, outside.url],
        ca=outside.certificate,
        certificate=outside.certificate,
        key=outside.key,
        username="root",
        password=Secret(password),
    )


def test_records_are_kept_there_also_when_the_login_has_run_out() -> None:
    async def scenario(outside: Outside) -> None:
        gateway = gateway_to(outside)
        store = Store(gateway)
        await store.open()
        try:
            await store.add_cluster(bare_cluster("a", 25060))
            await asyncio.sleep(2.5)  # longer than etcd lets a login stand unused
            await store.add_cluster(bare_cluster("b", 25070))
            assert {stored.value.name for stored in store.clusters()} == {"a", "b"}
            assert store.connected
        finally:
            await store.close()
            await gateway.close()

    with_outside(scenario)


def test_a_wrong_password_is_refused_and_not_shown() -> None:
    async def scenario(outside: Outside) -> None:
        gateway = gateway_to(outside, password="wrong-password")
        store = Store(gateway)
        try:
            with pytest.raises(Unavailable, match="etcd refused") as refusal:
                await store.open()
            assert "wrong-password" not in str(refusal.value)
        finally:
            await store.close()
            await gateway.close()

    with_outside(scenario)


def test_an_etcd_of_another_authority_is_not_talked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "RETRY_SECONDS", 0.1)

    async def scenario(outside: Outside) -> None:
        gateway = EtcdClient(urls=[outside.url], username="root", password=Secret(PASSWORD))
        try:
            with pytest.raises(Unavailable, match="cannot be reached"):
                await Store(gateway).open()
        finally:
            await gateway.close()

    with_outside(scenario)


def test_tls_files_that_cannot_be_read_are_named_as_the_reason(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="TLS files"):
        EtcdClient(urls=["https://127.0.0.1:1"], ca=tmp_path / "missing")


def test_an_etcd_has_to_be_given() -> None:
    with pytest.raises(Misconfigured, match="no etcd endpoint"):
        EtcdClient()
