"""Three hosts with a store of their own, and a fourth one that runs clusters and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from cenote.errors import Misconfigured
from cenote.host import fleet_files, identity
from cenote.model.paths import Layout
from cenote.security import certificates, fleet_certificates
from cenote.security.sealing import Sealer
from cenote.server import logins, stores
from cenote.store import etcd_messages, fleet
from cenote.store.access import agent_user
from cenote.store.client import EtcdClient, EtcdError
from cenote.store.keys import Keys
from tests.support.fleet import Fleet, FleetHost, answers, token_of
from tests.support.fleet import fleet as fleet_of
from tests.support.service import online_cluster
from tests.support.store_fleet import root_of, wait_for_seats
from tests.support.waiting import wait_until

KEYS = Keys("/cenote/")
SEALED = re.compile(rb"v1\.[0-9a-f]{8}\.[A-Za-z0-9+/]+={0,2}")


@pytest.fixture(scope="module")
def hosts() -> Iterator[Fleet]:
    with fleet_of(3, joined=True, clusters=4) as found:
        found.add(f"--join={token_of(found.hosts[1], '--roles', 'database')}", clusters=4)
        yield found


def id_of(host: FleetHost) -> str:
    known = identity.read(Layout(host.data_dir))
    assert known is not None
    return known.host_id


def test_clusters_are_created_through_each_api(hosts: Fleet) -> None:
    first, *_ = hosts.hosts
    wait_for_seats(first, 3)
    apis = hosts.hosts[:3]
    assert len({Layout(host.data_dir).authority.read_bytes() for host in apis}) == 1
    for number, host in enumerate(apis):
        with host.client() as client:
            made = online_cluster(client, f"through-{number}")
            assert answers(hosts.hosts, made)
    for host in apis:
        with host.client() as client:
            names = {one["name"] for one in client.databases.list_clusters()["databases"]}
            assert names >= {"through-0", "through-1", "through-2"}


def test_a_host_for_clusters_only_has_no_api_and_no_member(hosts: Fleet) -> None:
    first, worker = hosts.hosts[0], hosts.hosts[3]
    layout = Layout(worker.data_dir)
    with first.client() as client:

        def roles() -> list[str] | None:
            found = {host["name"]: [*map(str, host["roles"])] for host in client.cenote.list_hosts()["hosts"]}
            return found.get("host-4")

        assert wait_until("it is present", 30, roles) == ["database"]
    assert worker.processes().keys() == {"supervisor", "agent"}
    for path in (layout.etcd, layout.etcd_root_password, layout.etcd_api_password, layout.api):
        assert not path.exists(), path
    assert not layout.authority_key.exists()
    assert not layout.admin_token.exists()


def test_with_the_keys_of_such_a_host_secrets_of_others_are_out_of_reach(hosts: Fleet) -> None:
    first, worker = hosts.hosts[0], hosts.hosts[3]
    other, own = id_of(first), id_of(worker)
    with first.client() as client:
        cluster = online_cluster(client, "secret")

    async def look() -> None:
        async with as_agent(worker) as taken:
            found = await taken.read(KEYS.cluster(cluster["id"]))
            assert found is not None  # its passwords are sealed, and not with a ring of this host
            sealer = Sealer(Layout(worker.data_dir).host_keys)
            for sealed in _sealed(found.value):
                with pytest.raises(Misconfigured, match="sealed with another key"):
                    sealer.open(sealed)
            for folder in (
                f"{KEYS.prefix}tokens/",
                KEYS.join_tokens,
                f"{KEYS.prefix}logins/",
                KEYS.all_events,
                KEYS.all_history,
                f"{KEYS.prefix}refusals/",
                KEYS.reports_of(other),
                KEYS.certificates_of(other),
                KEYS.requests_of(other),
                f"{KEYS.fleet}certificates/{other}",
                f"{KEYS.fleet}admitted/{other}",
                "access/",
                KEYS.prefix,
            ):
                with pytest.raises(EtcdError, match="lacks the right"):
                    async for _ in taken.pages(folder, 10):
                        pass
            for key in (
                KEYS.cluster(cluster["id"]),
                KEYS.host(other),
                KEYS.presence(other),
                KEYS.reports_of(other) + "x",
                KEYS.fleet_authority,
                KEYS.join_token("0" * 64),
                KEYS.admitted(own),
                KEYS.host_certificate(own),
                KEYS.token("0" * 64),
                KEYS.controller,
            ):
                with pytest.raises(EtcdError, match="lacks the right"):
                    await taken.transact(
                        etcd_messages.TransactionRequest([], [etcd_messages.put(key, b"{}")], [])
                    )
            for action in ("user/list", "role/list"):
                with pytest.raises(EtcdError, match="lacks the right"):
                    await taken.administer(action, {}, etcd_messages.Nothing)

    asyncio.run(look())


def test_a_certificate_that_is_due_is_renewed_and_used(hosts: Fleet) -> None:
    """Whatever the host asks for, it gets the roles that it was admitted with."""
    first, worker = hosts.hosts[0], hosts.hosts[3]
    layout, own = Layout(worker.data_dir), id_of(worker)
    agent = worker.child("agent")

    async def authority() -> tuple[str, str]:
        async with root_of(first) as client:
            found = await fleet.authority(client, KEYS)
            assert found is not None
            return found.certificate, Sealer(Layout(first.data_dir).api_sealing_key).open(
                found.sealed_key
            ).reveal()

    certificate, ca_key = asyncio.run(authority())
    known = identity.read(layout)
    assert known is not None
    key, request = certificates.new_request()
    names = fleet_certificates.names_of_host(own, worker.address, known.roles)
    issued = fleet_certificates.sign(certificate, ca_key, request, names, lifetime=timedelta(days=10))
    fleet_files.write(layout, key, issued, certificate)
    wait_until("it is used", 30, lambda: worker.child("agent") not in (None, agent))
    wait_until(
        "it is renewed",
        100,
        lambda: (
            certificates.expires_at(layout.fleet_certificate.read_bytes())
            > datetime.now(UTC) + timedelta(days=300)
        ),
    )
    wait_until("the renewal is done", 10, lambda: not layout.fleet_renewal.exists())
    found = certificates.names_of(layout.fleet_certificate.read_bytes())
    assert fleet_certificates.roles_of(found) == {"database"}

    def is_up() -> bool:
        with first.client() as client:
            return "host-4" in {host["name"] for host in client.cenote.list_hosts()["hosts"]}

    wait_until("it is present", 30, is_up)


@contextlib.asynccontextmanager
async def as_agent(host: FleetHost) -> AsyncIterator[EtcdClient]:
    layout = Layout(host.data_dir)
    client = stores.login(layout)(agent_user(id_of(host)), logins.read(layout.etcd_agent_password))
    try:
        yield client
    finally:
        await client.close()


def _sealed(record: bytes) -> list[str]:
    found = [text.decode() for text in SEALED.findall(record)]
    assert found
    return found
