"""What ``cenote store`` does on a host: it shows the members of the store, and puts them right."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from cenote.errors import CenoteError, Misconfigured
from cenote.host import identity, programs
from cenote.host.identity import Identity
from cenote.model.fleet_ports import FleetPorts
from cenote.model.fleet_records import Host
from cenote.model.paths import Layout
from cenote.server import logins, stores
from cenote.store import etcd_options, member_file, member_state, members
from cenote.store.access import ROOT, agent_user
from cenote.store.client import EtcdClient
from cenote.store.encoding import decode
from cenote.store.etcd_options import Member
from cenote.store.keys import Keys
from cenote.store.member_plan import VOTERS
from cenote.store.member_state import MemberState
from cenote.store.process import PrivateEtcd

SEATED_SECONDS = 90.0
LOOK_SECONDS = 0.5
NAMES_SECONDS = 2.0

_host = msgspec.json.Decoder(Host)


class State(NamedTuple):
    """The members, and the names of hosts by their ids."""

    members: list[MemberState]
    names: Mapping[str, str]


def require_own(layout: Layout) -> Identity:
    """Return who this host is; Misconfigured where there is no store of ours to look at."""
    known = identity.read(layout)
    if known is None:
        raise Misconfigured(f"no service has been started with {layout.data_dir}")
    if not layout.etcd.exists() and not stores.has_members(layout):
        raise Misconfigured(
            "the records are in an etcd of your own, which its own tools look after (etcdctl endpoint status)"
        )
    return known


async def look(layout: Layout, prefix: str) -> State:
    """Ask all members of the store."""
    known = require_own(layout)
    client = stores.login(layout)("", None)
    try:
        seats = member_file.read(layout.members)
        found = await member_state.look(client, lambda host, url: stores.client_at(layout, host, url), seats)
    finally:
        await client.close()
    return State(found, {known.host_id: known.name} | await _names(layout, known, prefix))


async def _names(layout: Layout, known: Identity, prefix: str) -> dict[str, str]:
    """Return the names of hosts as the records have them; none while the store does not answer."""
    keys, found = Keys(prefix), dict[str, str]()
    client = stores.login(layout)(agent_user(known.host_id), logins.read(layout.etcd_agent_password))
    try:
        async with asyncio.timeout(NAMES_SECONDS):
            async for page in client.pages(keys.hosts, 500):
                for one in page.found:
                    host = decode(one.key.decode(), one.value, _host)
                    found[host.id] = host.name
    except (CenoteError, msgspec.DecodeError, TimeoutError):
        pass
    finally:
        await client.close()
    return found


async def replace(layout: Layout, prefix: str) -> None:
    """Remove the member whose data this host has lost, so that it becomes a new one.

    The agents of the hosts do the rest.  Misconfigured where that would be wrong.
    """
    known = require_own(layout)
    state = await look(layout, prefix)
    own = next((one for one in state.members if one.host == known.host_id), None)
    if own is None:
        raise Misconfigured(
            "this host's etcd is no member of the store; it becomes one by itself while Cenote runs here, if "
            "the host has the role store and three others are not there"
        )
    if own.answers:
        raise Misconfigured("the etcd of this host answers; there is nothing to replace")
    others = [one for one in state.members if one.votes and one is not own]
    if 2 * sum(one.answers for one in others) <= len(others):
        raise Misconfigured(
            "without this host's member the others are no majority, so it cannot be replaced: start Cenote "
            "on the other hosts; if they are lost for good, 'cenote store recover' on one that has its data"
        )
    client = root_client(layout)
    try:
        for one in await members.listed(client):
            if etcd_options.host_of(one.name) == known.host_id:
                await members.remove(client, one.id)
    finally:
        await client.close()


async def wait_until_seated(layout: Layout, prefix: str) -> str | None:
    """Wait until it is settled what the etcd of this host is, and say it; None if that takes too long."""
    known, deadline = require_own(layout), time.monotonic() + SEATED_SECONDS
    while time.monotonic() < deadline:
        found = (await look(layout, prefix)).members
        own = next((one for one in found if one.host == known.host_id), None)
        voters = sum(one.votes for one in found)
        if own is not None and own.answers and (own.votes or voters == 1):
            return f"The etcd of this host is a member again, which {'votes' if own.votes else 'learns'}"
        if own is None and all(one.started for one in found) and voters >= VOTERS:
            return (
                f"{voters} other members vote, so the etcd of this host is none any more; it takes the place "
                "of one whose host is removed"
            )
        await asyncio.sleep(LOOK_SECONDS)
    return None


async def check_recovery(layout: Layout, prefix: str) -> datetime | None:
    """Return when the records of this host were last written; Misconfigured if it may not go on with them.

    That is while a majority answers, on a host whose etcd is no member, and on one without data.
    """
    known = require_own(layout)
    own = next((seat for seat in member_file.read(layout.members) if seat.host == known.host_id), None)
    if own is None:
        raise Misconfigured(
            "this host's etcd is no member of a store that others share, so there is nothing to recover: "
            "start Cenote here; if the members are lost, recover on a host that 'cenote store status' names"
        )
    folder = etcd_of(layout, known).folder
    folder.finish_replacement()
    if not folder.has_data:
        raise Misconfigured(f"there are no data of etcd in {layout.etcd}; recover on a host that has them")
    voters = [one for one in (await look(layout, prefix)).members if one.votes]
    if voters and 2 * sum(one.answers for one in voters) > len(voters):
        raise Misconfigured(
            "most of the members that vote answer, so the store is not lost; see 'cenote store status'"
        )
    return folder.changed_at()


async def recover(layout: Layout, prefix: str) -> None:
    """Make this host's etcd the only member, with its records, where ``check_recovery`` allows it."""
    await check_recovery(layout, prefix)
    known = require_own(layout)
    learns = any(seat.host == known.host_id and not seat.voter for seat in member_file.read(layout.members))
    await etcd_of(layout, known).start_alone(learner=learns)
    client = root_client(layout)
    try:
        member_file.write(layout.members, member_file.of(await members.listed(client)))
    finally:
        await client.close()


def root_client(layout: Layout) -> EtcdClient:
    return stores.login(layout)(ROOT, logins.read(layout.etcd_root_password))


def etcd_of(layout: Layout, known: Identity) -> PrivateEtcd:
    """Return the etcd of this host as the one that runs here, or ran here, is started."""
    found = programs.find(data_dir=layout.data_dir).etcd
    if found is None:
        raise Misconfigured("etcd is not installed; see 'cenote doctor'")
    return PrivateEtcd(
        layout.etcd,
        found.path,
        clients=layout.etcd_client,
        group=layout.etcd_client.stat().st_gid if layout.etcd_client.exists() else None,
        administrator=lambda socket: logins.root_client(socket, logins.ensure_passwords(layout)),
        member=_member_of(layout, known),
    )


def _member_of(layout: Layout, known: Identity) -> Member:
    own = next((seat for seat in member_file.read(layout.members) if seat.host == known.host_id), None)
    if own is None or not layout.fleet_certificate.exists():
        return Member()
    address, _, port = own.url.removeprefix("https://").rpartition(":")
    return stores.member_at(layout, known, address.strip("[]"), FleetPorts.of(int(port) - 2))
