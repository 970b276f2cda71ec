"""The certificates of the fleet's hosts are renewed through the store, and that of its CA, too."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cenote.agent.host_certificate import HostCertificate
from cenote.controller import host_certificates
from cenote.controller.controller import Controller
from cenote.host import fleet_files
from cenote.model.fleet_records import AdmittedHost, FleetAuthority, HostRole
from cenote.model.paths import Layout
from cenote.model.record import Secret
from cenote.model.timing import Timing
from cenote.security import certificates, fleet_certificates
from cenote.security.sealing import Sealer
from cenote.store import HostStore, PrivateEtcd, Store, etcd_messages, fleet
from tests.support.etcd import opened_host, opened_store, with_etcd
from tests.support.waiting import wait_until_async

HOST = "5f0e9a52-3f3c-4a52-9a39-3f7b1f1c9a11"
TIMING = Timing(certificate_interval=0.05)
ADMITTED = AdmittedHost(
    name="db-2", address="127.0.1.2", roles=(HostRole.DATABASE,), at=datetime(2026, 1, 1, tzinfo=UTC)
)


class Scene:
    """A fleet with one host, whose certificate ends in ten days."""

    def __init__(self, store: Store, agent: HostStore, folder: Path) -> None:
        self.store, self.agent = store, agent
        self.layout, self.sealer = Layout(folder), Sealer(folder / "ring.key")

    async def begin(self, authority_now: datetime | None = None, *, admitted: bool = True) -> str:
        """Return the CA's certificate."""
        certificate, ca_key = fleet_certificates.new_authority(now=authority_now)
        sealed = self.sealer.seal(Secret(ca_key))
        client, keys = self.store.client, self.store.keys
        await fleet.claim_authority(client, keys, FleetAuthority(certificate=certificate, sealed_key=sealed))
        if admitted:
            await fleet.admit(client, keys, HOST, ADMITTED)
        key, request = certificates.new_request()
        names = fleet_certificates.names_of_host(HOST, ADMITTED.address, ADMITTED.roles)
        issued = fleet_certificates.sign(certificate, ca_key, request, names, lifetime=timedelta(days=10))
        fleet_files.write(self.layout, key, issued, certificate)
        return certificate

    @property
    def ends(self) -> datetime:
        return certificates.expires_at(self.layout.fleet_certificate.read_bytes())

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        controller = Controller(self.store, self.sealer, HOST, "here", TIMING)
        renewing = HostCertificate(self.agent, self.layout, TIMING)
        tasks = [asyncio.create_task(controller.run()), asyncio.create_task(renewing.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def scene(etcd: PrivateEtcd, folder: Path) -> AsyncIterator[Scene]:
    async with opened_store(etcd) as store, opened_host(etcd, HOST) as agent:
        yield Scene(store, agent, folder)


def test_a_certificate_is_renewed_with_the_names_that_the_host_was_admitted_with(tmp_path: Path) -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with scene(etcd, tmp_path) as found:
            authority = await found.begin()
            async with found.running():
                await wait_until_async(
                    "it is renewed",
                    20,
                    lambda: (
                        not found.layout.fleet_renewal.exists()
                        and found.ends > datetime.now(UTC) + timedelta(days=300)
                    ),
                )
            renewed = found.layout.fleet_certificate.read_bytes()
            assert certificates.is_for_key(renewed, found.layout.fleet_key.read_bytes())
            assert certificates.is_issued_by(renewed, authority)
            names = certificates.names_of(renewed)
            assert fleet_certificates.host_id_of(names) == HOST
            assert fleet_certificates.roles_of(names) == {HostRole.DATABASE}
            assert not found.store.joining.requests()

    with_etcd(scenario)


def test_a_host_that_was_not_admitted_gets_none(tmp_path: Path) -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with scene(etcd, tmp_path) as found:
            await found.begin(admitted=False)
            before = found.ends
            async with found.running():
                await wait_until_async("it is asked for", 20, lambda: bool(found.store.joining.requests()))
                await asyncio.sleep(0.5)
            assert found.ends == before

    with_etcd(scenario)


def test_a_request_waits_for_the_sealing_key_of_the_authority(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with scene(etcd, tmp_path) as found:
            await found.begin()
            before, with_key = found.ends, found.sealer
            found.sealer = Sealer(tmp_path / "other.key")
            async with found.running():
                await wait_until_async("it is refused", 20, lambda: "it is tried again" in caplog.text)
                found.sealer.add_key(with_key.keys[-1])
                await wait_until_async("it is renewed", 20, lambda: found.ends > before)

    with_etcd(scenario)


@pytest.mark.parametrize("nonsense", [b'{"format":99}', b"{", b'{"pem":3}', b'{"pem":"-"}'])
def test_a_host_that_asks_nonsense_is_in_nobodys_way(tmp_path: Path, nonsense: bytes) -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with scene(etcd, tmp_path) as found:
            await found.begin()
            before, keys = found.ends, found.store.keys
            liar = keys.host_request("00000000-3f3c-4a52-9a39-3f7b1f1c9a11")
            put = etcd_messages.put(liar, nonsense)
            await found.store.client.transact(etcd_messages.TransactionRequest([], [put], []))
            async with found.running():
                await wait_until_async("it is renewed", 20, lambda: found.ends > before)
            assert found.store.joining.tokens() == []
            async with opened_store(etcd) as another:
                assert another.joining.admitted().keys() == {HOST}

    with_etcd(scenario)


def test_the_certificate_of_the_authority_is_renewed_with_the_same_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # None ends before 2036, whatever the clock said when it was made; a new one has ten years.
    monkeypatch.setattr(host_certificates, "RENEW_AUTHORITY_BEFORE", timedelta(days=3640))

    async def scenario(etcd: PrivateEtcd) -> None:
        async with scene(etcd, tmp_path) as found:
            old = await found.begin(datetime(2026, 1, 1, tzinfo=UTC))
            async with found.running():
                await wait_until_async(
                    "the host has the new one", 20, lambda: found.layout.fleet_authority.read_text() != old
                )
                await wait_until_async("it is whole", 20, lambda: not found.layout.fleet_renewal.exists())
            new = found.layout.fleet_authority.read_text()
            assert certificates.expires_at(new.encode()) > certificates.expires_at(old.encode())
            for authority in (old, new):  # hosts that know the one and hosts that know the other
                assert certificates.is_issued_by(found.layout.fleet_certificate.read_bytes(), authority)

    with_etcd(scenario)


def test_a_renewal_that_was_cut_off_is_gone_on_with(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    certificate, ca_key = fleet_certificates.new_authority()
    names = fleet_certificates.names_of_host(HOST, "127.0.1.2", ())
    old_key, request = certificates.new_request()
    fleet_files.write(
        layout, old_key, fleet_certificates.sign(certificate, ca_key, request, names), certificate
    )
    wanted = fleet_files.renewal(layout)
    assert fleet_files.renewal(layout) == wanted
    issued = fleet_certificates.sign(certificate, ca_key, wanted.request, names)
    layout.fleet_certificate.write_text(issued)  # and then the power failed
    assert fleet_files.is_due(layout, datetime.now(UTC))
    fleet_files.mend(layout)
    assert not fleet_files.is_due(layout, datetime.now(UTC))
    assert not layout.fleet_renewal.exists()


def test_a_certificate_of_another_authority_is_not_taken(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    names = fleet_certificates.names_of_host(HOST, "127.0.1.2", ())
    (own, own_key), (other, other_key) = (fleet_certificates.new_authority() for _ in range(2))
    key, request = certificates.new_request()
    fleet_files.write(layout, key, fleet_certificates.sign(own, own_key, request, names), own)
    wanted = fleet_files.renewal(layout)
    with pytest.raises(ValueError, match="not of the fleet's CA"):
        fleet_files.take(layout, wanted.key, fleet_certificates.sign(other, other_key, wanted.request, names))
    assert layout.fleet_authority.read_text() == own
