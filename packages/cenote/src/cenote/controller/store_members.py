"""Decides which hosts' etcds are the members of the store, and as what: one API process, elected by a lease.

It looks at the members and at the hosts, plans one step (``store/member_plan.py``), does it, and looks again.
What a step needs of a host, its agent reads in the store and does by itself (``agent/store_keeper.py``).
"""

from __future__ import annotations

import asyncio
import logging
from typing import TypeVar

import msgspec

from cenote.controller.election import Election
from cenote.errors import CenoteError, Unavailable
from cenote.model.fleet_ports import FleetPorts
from cenote.model.fleet_records import AdmittedHost, Host, HostRole, StoreMember
from cenote.store import access, etcd_messages, etcd_options, members
from cenote.store.client import EtcdClient
from cenote.store.encoding import decode, encode
from cenote.store.keys import Keys
from cenote.store.member_plan import Add, Promote, Remove, Step, StoreHost, Tell, plan

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_SECONDS = 2.0
PAGE = 500


class _Left(Exception):
    """This host was removed; what is done by root's login is not for it any more."""


class StoreMembers:
    """``client`` is etcd's root; ``host_id`` and ``directory`` are of the host that this process runs on."""

    def __init__(self, client: EtcdClient, prefix: str, host_id: str, directory: str) -> None:
        self._client, self._keys, self._host_id = client, Keys(prefix), host_id
        self._election = Election(client, self._keys.member_keeper, host_id, directory)
        self._settled: set[str] = set()  # the hosts of the fleet when their users were last put right
        self._told = ""

    async def run(self) -> None:
        """Run until cancelled, or until this host belongs to the fleet no more."""
        try:
            async with asyncio.TaskGroup() as group:
                standing = group.create_task(self._election.run(), name="election of the store's keeper")
                await self._keep()
                standing.cancel()
        finally:
            await self._election.resign()

    async def close(self) -> None:
        await self._client.close()

    async def _keep(self) -> None:
        while True:
            await self._election.elected.wait()
            pause = LOOK_SECONDS
            try:
                if await self._step():
                    pause = 0.0
                self._told = ""
            except _Left:
                log.warning("this host has left the fleet; another one looks after the members of the store")
                return
            except CenoteError as error:
                if error.message != self._told:
                    log.warning("the members of the store cannot be changed: %s", error)
                self._told = error.message
            except Exception:
                log.exception("the members of the store: a defect in Cenote")
            await asyncio.sleep(pause)

    async def _step(self) -> bool:
        """Do what has to be done next; return whether there was anything."""
        admitted = await self._admitted()
        if self._host_id not in admitted:
            raise _Left
        await self._settle_users(set(admitted))
        hosts = await self.hosts(admitted)
        found = await members.listed(self._client)
        if await self._forget_records({one.id for one in found}):
            return True
        step = plan(found, hosts, (await self._client.status()).leader)
        if step is None:
            return False
        log.info("members of the store: %s", step)
        self._election.condition()  # Unavailable when another one decides
        await self._do(step, hosts)
        return True

    async def _admitted(self) -> dict[str, AdmittedHost]:
        """Return the hosts of the fleet, by their ids.

        Unavailable if one of the records cannot be read: its host has not left the fleet by that.
        """
        return await _all(self._client, self._keys.all_admitted, AdmittedHost, whole=True)

    async def hosts(self, admitted: dict[str, AdmittedHost]) -> dict[str, StoreHost]:
        """Return the hosts of the fleet with the role store, by their ids.

        What a host says of itself counts more than what it was admitted with, if it can be read.
        """
        known = await _all(self._client, self._keys.hosts, Host)
        told = await _all(self._client, self._keys.all_store_members, StoreMember)
        started = await _names(self._client, self._keys.hosts)  # also those whose records cannot be read
        present = await _names(self._client, self._keys.presences)
        drained = await _names(self._client, self._keys.drains)
        found = {}
        for id, host in admitted.items():
            if HostRole.STORE not in host.roles:
                continue
            now = known.get(id)
            address, port, zone = host.address, host.port, host.zone
            if now is not None and now.fleet_address:
                address, port, zone = now.fleet_address, now.fleet_port, now.zone
            url = etcd_options.url(address, FleetPorts.of(port).peers)
            found[id] = StoreHost(
                id,
                url,
                id in present,
                zone,
                told[id].member if id in told else 0,
                started=id in started or id in present,
                leaving=id in drained,
            )
        return found

    async def _do(self, step: Step, hosts: dict[str, StoreHost]) -> None:
        match step:
            case Add(host):
                await members.admit(self._client, hosts[host].peer_url)
            case Tell(host, member):
                record = encode(StoreMember(member=member))
                await self._write(etcd_messages.put(self._keys.store_member(host), record))
            case Promote(member):
                await members.promote(self._client, member)
            case Remove(member):
                await members.remove(self._client, member)

    async def _forget_records(self, members: set[int]) -> bool:
        """Remove what hosts were told of members that are none any more; return whether there was anything.

        By its record, a host would take the data of such a member for its own.
        """
        told = await _all(self._client, self._keys.all_store_members, StoreMember)
        old = [id for id, record in told.items() if record.member not in members]
        for id in old:
            await self._write(etcd_messages.delete(self._keys.store_member(id)))
        return bool(old)

    async def _write(self, operation: etcd_messages.EtcdOperation) -> None:
        condition = self._election.condition()
        await self._client.transact(etcd_messages.TransactionRequest([condition], [operation], []))

    async def _settle_users(self, admitted: set[str]) -> None:
        """Give the agents the rights that this version knows, and remove the users of hosts that left."""
        if admitted == self._settled:
            return
        for id in admitted - self._settled:
            await access.ensure_rights(self._client, self._keys.root, id)
        # In this order, since a host that joins meanwhile is admitted before its users are made.
        users = await access.hosts_with_users(self._client)
        left = users - (await self._admitted()).keys()
        present = await _names(self._client, self._keys.presences) if left else set()
        for id in left - present:
            log.info("the host %s has left; it cannot log in to etcd any more", id)
            await access.forget_host(self._client, id)
        # One that still runs may log in until it has seen that it was removed.
        if not left & present:
            self._settled = admitted


async def _all(client: EtcdClient, folder: str, kind: type[T], *, whole: bool = False) -> dict[str, T]:
    """Return the records of a folder by the ids of their hosts.

    Those that cannot be read are left out, or with ``whole`` are an error.
    """
    decoder, found = msgspec.json.Decoder(kind), dict[str, T]()
    async for page in client.pages(folder, PAGE):
        for one in page.found:
            key = one.key.decode()
            try:
                found[key.removeprefix(folder)] = decode(key, one.value, decoder)
            except (msgspec.DecodeError, CenoteError) as error:
                if whole:
                    raise Unavailable(f"the record {key} cannot be read: {error}") from None
    return found


async def _names(client: EtcdClient, folder: str) -> set[str]:
    return {
        one.key.decode().removeprefix(folder)
        async for page in client.pages(folder, PAGE, keys_only=True)
        for one in page.found
    }
