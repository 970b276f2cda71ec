"""Hosts of one fleet whose etcds are the members of its store: services on 127.0.1.1, 127.0.1.2, …"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from cenote.host import fleet_files, identity
from cenote.host.identity import Identity
from cenote.model.fleet_ports import COUNT
from cenote.model.fleet_records import ALL_ROLES, AdmittedHost, HostRole
from cenote.model.paths import Layout
from cenote.security import certificates, fleet_certificates
from cenote.security.sealing import Sealer
from cenote.server import logins
from cenote.store import door, etcd_messages, fleet, member_file, members
from cenote.store.access import ROOT
from cenote.store.client import EtcdClient
from cenote.store.keys import Keys
from cenote.store.member_file import Addresses, Seat
from cenote.store.process import PrivateEtcd
from tests.support import process_table
from tests.support.fleet import FleetHost, copy_keys
from tests.support.folders import server_folder
from tests.support.ports import free_range
from tests.support.waiting import wait_until

PREFIX = "/cenote/"


class StoreFleet:
    def __init__(self, root: Path) -> None:
        self._root = root
        self.hosts: list[FleetHost] = []
        self._stack = contextlib.ExitStack()

    def add(self, *options: str, roles: tuple[HostRole, ...] = ALL_ROLES, clusters: int = 4) -> FleetHost:
        """Start one more host and return it once it serves; those after the first one join it."""
        number = len(self.hosts) + 1
        data_dir = self._root / str(number)
        data_dir.mkdir(mode=0o711)
        host = FleetHost(data_dir, number, *options, fleet_port=free_range(COUNT), clusters=clusters)
        if self.hosts:
            asyncio.run(self._join(host, roles))
        self.hosts.append(host)
        self._stack.callback(host.clean_up)
        host.start()
        return host

    async def _join(self, host: FleetHost, roles: tuple[HostRole, ...]) -> None:
        first, layout, keys = Layout(self.hosts[0].data_dir), Layout(host.data_dir), Keys(PREFIX)
        known = identity.read(first)
        assert known is not None
        made = Identity(id=uuid4(), name=host.name, store=known.store, roles=roles)
        copy_keys(first, layout)
        async with root_of(self.hosts[0]) as client:
            authority = await fleet.authority(client, keys)
            assert authority is not None
            admitted = AdmittedHost(name=host.name, address=host.address, roles=roles, at=_now())
            await fleet.admit(client, keys, made.host_id, admitted)
            root = logins.read(first.etcd_root_password)
            let_in = await door.let_in(client, PREFIX, made.host_id, roles, root)
        key, request = certificates.new_request()
        ca_key = Sealer(first.api_sealing_key).open(authority.sealed_key).reveal()
        names = fleet_certificates.names_of_host(made.host_id, host.address, roles)
        issued = fleet_certificates.sign(authority.certificate, ca_key, request, names)
        fleet_files.write(layout, key, issued, authority.certificate)
        logins.write_passwords(layout, let_in.passwords)
        member_file.write(layout.members, tuple(Seat("", url) for url in let_in.endpoints))
        identity.write(layout, made)

    def forget(self, host: FleetHost) -> None:
        """Remove a host from the fleet, as ``cenote host remove`` does."""
        known = identity.read(Layout(host.data_dir))
        assert known is not None
        keys, id = Keys(PREFIX), known.host_id
        gone = [etcd_messages.delete(key) for key in (keys.admitted(id), keys.host(id))]

        async def remove() -> None:
            async with root_of(self.hosts[0]) as client:
                await client.transact(etcd_messages.TransactionRequest([], gone, []))

        asyncio.run(remove())

    def close(self) -> None:
        self._stack.close()


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC).replace(microsecond=0)


@contextlib.asynccontextmanager
async def root_of(host: FleetHost) -> Any:
    """A client of the fleet's etcd that may do everything, as this host has it."""
    layout = Layout(host.data_dir)
    known = identity.read(layout)
    assert known is not None
    socket = layout.etcd_client_socket
    client = EtcdClient(
        socket=socket,
        addresses=Addresses(layout.members, known.host_id, socket),
        ca=layout.fleet_authority,
        certificate=layout.fleet_certificate,
        key=layout.fleet_key,
        fleet=True,
        username=ROOT,
        password=logins.read(layout.etcd_root_password),
    )
    try:
        yield client
    finally:
        await client.close()


def seats(host: FleetHost) -> dict[str, bool]:
    """Return whether each member votes, by its name, as the host asks for it; empty when nobody answers."""

    async def ask() -> dict[str, bool]:
        async with root_of(host) as client:
            return {one.name: not one.is_learner for one in await members.listed(client)}

    return asyncio.run(ask())


def wait_for_seats(host: FleetHost, voters: int, learners: int = 0, seconds: float = 40) -> None:
    def are_there() -> bool:
        found = seats(host)
        return all(found) and sorted(found.values()) == [False] * learners + [True] * voters

    wait_until(f"{voters} members vote, and {learners} learn", seconds, are_there)


def etcd_of(host: FleetHost) -> PrivateEtcd:
    return PrivateEtcd(Layout(host.data_dir).etcd)


def signal_etcd(host: FleetHost, number: signal.Signals) -> None:
    pid = etcd_of(host).pid
    assert pid is not None
    os.kill(pid, number)


def lose_disk(host: FleetHost) -> None:
    """Kill a host's etcd, and remove its data."""
    folder = Layout(host.data_dir).etcd
    lost = folder.rename(folder.with_name("etcd-lost")).resolve()
    for pid, directory in process_table.directories().items():
        if directory == lost:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    shutil.rmtree(lost)


@contextlib.contextmanager
def store_fleet(count: int, **options: Any) -> Iterator[StoreFleet]:
    """``count`` hosts that serve, with all roles; all is stopped and removed at the end."""
    with server_folder() as root:
        hosts = StoreFleet(root)
        try:
            for _ in range(count):
                hosts.add(**options)
            yield hosts
        except BaseException:
            for host in hosts.hosts:
                sys.stderr.write(f"--- {host.name}\n{host.log()[-5000:]}\n")
                log = Layout(host.data_dir).etcd / "etcd.log"
                with contextlib.suppress(OSError):
                    sys.stderr.write(f"--- etcd of {host.name}\n{log.read_text()[-2000:]}\n")
            raise
        finally:
            hosts.close()
