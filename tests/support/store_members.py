"""Several etcds on 127.0.1.1, 127.0.1.2, …, the members of one store, with the certificates of a fleet."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from cenote.errors import Unavailable
from cenote.model.fleet_ports import COUNT, FleetPorts
from cenote.model.fleet_records import ALL_ROLES
from cenote.security import certificates, fleet_certificates
from cenote.store import members
from cenote.store.client import EtcdClient
from cenote.store.etcd_http import Address
from cenote.store.etcd_options import Listening, Member, name_of
from cenote.store.process import PrivateEtcd
from tests.support.etcd import etcd_program
from tests.support.folders import server_folder
from tests.support.ports import free_range


class StoreHost(NamedTuple):
    id: str
    folder: Path
    listening: Listening
    etcd: PrivateEtcd

    def signal(self, number: signal.Signals) -> None:
        assert self.etcd.pid is not None
        os.kill(self.etcd.pid, number)

    async def lose(self) -> None:
        """Kill it, and lose its disk."""
        self.signal(signal.SIGKILL)
        await self.etcd.stop()
        shutil.rmtree(self.folder)


class StoreHosts:
    """Hosts with an etcd each; the first one alone is started."""

    def __init__(self, root: Path) -> None:
        self._root, self._port = root, free_range(COUNT)
        self._authority, self._key = fleet_certificates.new_authority()
        (root / "ca.pem").write_text(self._authority)
        self.hosts: list[StoreHost] = []

    def host(self) -> StoreHost:
        """Return one more host; its etcd is not started."""
        number = len(self.hosts) + 1
        id, address = f"{number}1111111-1111-4111-8111-111111111111", f"127.0.1.{number}"
        folder = self._root / str(number)
        key, request = certificates.new_request()
        names = fleet_certificates.names_of_host(id, address, ALL_ROLES)
        issued = fleet_certificates.sign(self._authority, self._key, request, names)
        files = self._root / f"{number}.pem", self._root / f"{number}.key"
        for path, text in zip(files, (issued, key), strict=True):
            path.write_text(text)
        ports = FleetPorts.of(self._port)
        listening = Listening(address, ports.store, ports.peers, *files, self._root / "ca.pem")
        member = Member(name_of(id), listening)
        made = StoreHost(id, folder, listening, PrivateEtcd(folder / "etcd", etcd_program(), member=member))
        self.hosts.append(made)
        return made

    async def join(self, client: EtcdClient, *, promoted: bool = True) -> StoreHost:
        """Have the etcd of one more host as a member."""
        host = self.host()
        await self.start_member(client, host, promoted=promoted)
        return host

    async def start_member(self, client: EtcdClient, host: StoreHost, *, promoted: bool = True) -> None:
        member = await members.admit(client, host.listening.peer_url)
        await host.etcd.start(members.initial_cluster(await members.listed(client), member.id, host.id))
        if promoted:
            await members.promote(client, member.id)

    async def have_leader(self, number: int) -> None:
        """Have the member of a host, from 0, lead the others."""
        wanted = name_of(self.hosts[number].id)
        for _ in range(10):
            for asked in range(len(self.hosts)):
                async with closing(self.client(order=(asked,))) as client:
                    leader = (await client.status()).leader
                    names = {one.id: one.name for one in await members.listed(client)}
                    if names.get(leader) == wanted:
                        return
                    target = next(id for id, name in names.items() if name == wanted)
                    with contextlib.suppress(Unavailable):  # only the leader itself gives up
                        await client.transfer_leadership(target)
        raise RuntimeError("the leader stays")

    def client(self, *, own: int = 0, order: tuple[int, ...] = (), **login: object) -> EtcdClient:
        """Return a client as a host has it: its own member first, then the others; from 0."""
        hosts = [self.hosts[number] for number in order or range(len(self.hosts))]
        listening, socket = hosts[0].listening, self.hosts[own].etcd.socket if not order else None
        addresses: list[Address] = [] if socket is None else [socket]
        addresses += [host.listening.client_url for host in hosts if order or host is not self.hosts[own]]
        return EtcdClient(
            socket=socket,
            addresses=lambda: addresses,
            ca=listening.authority,
            certificate=listening.certificate,
            key=listening.key,
            fleet=True,
            **login,  # type: ignore[arg-type]
        )


@contextlib.asynccontextmanager
async def store_hosts(count: int = 1) -> AsyncIterator[StoreHosts]:
    """``count`` hosts whose etcds are voters; all are stopped and removed at the end."""
    with server_folder() as root:
        made = StoreHosts(root)
        try:
            first = made.host()
            await PrivateEtcd(first.folder / "etcd", etcd_program()).start()
            await first.etcd.start()  # grows in place
            async with closing(EtcdClient(socket=first.etcd.socket)) as client:
                for _ in range(count - 1):
                    await made.join(client)
            yield made
        except BaseException:
            for host in made.hosts:
                with contextlib.suppress(OSError):
                    sys.stderr.write((host.folder / "etcd" / "etcd.log").read_text())
            raise
        finally:
            for host in made.hosts:
                with contextlib.suppress(OSError, AssertionError):
                    host.signal(signal.SIGKILL)
                await host.etcd.stop()


@contextlib.asynccontextmanager
async def closing(client: EtcdClient) -> AsyncIterator[EtcdClient]:
    try:
        yield client
    finally:
        await client.close()


def with_store_hosts(count: int, scenario: Callable[[StoreHosts], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with store_hosts(count) as hosts:
            await scenario(hosts)

    asyncio.run(whole())
