"""The members of etcd: asked for, added as learners, promoted, removed.

Each call may be repeated: what has happened already is no error.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence

from cenote.errors import Busy, Unavailable
from cenote.store import etcd_options, member_plan
from cenote.store.client import EtcdClient, EtcdError
from cenote.store.etcd_messages import Member, MembersResponse
from cenote.store.member_file import Seat

UNHEALTHY_SECONDS = 15.0  # after one that was added has been connected to, etcd takes no other for 5 s
PAUSE_SECONDS = 0.1
HEIR_SECONDS = 2.0
# What etcd says while a change has to wait for the members to see one another.
_PASSING = (
    "unhealthy cluster",
    "not enough started members",
    "can only promote a learner member which is in sync",
)
# What it says of a new member with the address and second of one that was removed: their ids are the same.
_SAME_SECOND = "member not found"


async def listed(client: EtcdClient) -> list[Member]:
    """Return all members, as the one that answers knows them."""
    return (await client.membership("list", {})).members


async def listed_by_heirs(seats: Sequence[Seat], at: Callable[[str, str], EtcdClient]) -> list[Member]:
    """Return all members as one knows them that had no vote when the seats were written down.

    It may have got the vote of those that had one, and these be gone; while it has not, it does not answer
    this.  ``at`` makes a client, without a login, of the one member of a host at a URL.
    """
    for seat in seats:
        if seat.voter:
            continue
        client = at(seat.host, seat.url)
        try:
            async with asyncio.timeout(HEIR_SECONDS):
                return await listed(client)
        except (Unavailable, TimeoutError):
            pass
        finally:
            await client.close()
    return []


async def admit(client: EtcdClient, peer_url: str) -> Member:
    """Have the etcd that is to listen there as a member, a learner at first."""
    found = _at(await listed(client), peer_url)
    if found is None:
        request = {"peerURLs": [peer_url], "isLearner": True}
        try:
            found = (await _patiently(client, "add", request)).member
        except EtcdError:
            found = _at(await listed(client), peer_url)  # an answer that was lost
            if found is None:
                raise
    return found


def initial_cluster(members: list[Member], id: int, host_id: str) -> str:
    """Return what etcd wants to know of all members at the first start of one of them."""
    own = etcd_options.name_of(host_id)
    names = {one.id: own if one.id == id else one.name or f"unstarted-{one.id:x}" for one in members}
    return ",".join(f"{names[one.id]}={url}" for one in members for url in one.peer_urls)


async def promote(client: EtcdClient, id: int) -> None:
    """Make a learner a voter, as soon as it has caught up."""
    try:
        await _patiently(client, "promote", {"ID": id})
    except EtcdError:
        if not any(one.id == id and not one.is_learner for one in await listed(client)):
            raise


async def remove(client: EtcdClient, id: int) -> None:
    try:
        await _patiently(client, "remove", {"ID": id})
    except EtcdError:
        if any(one.id == id for one in await listed(client)):
            raise


def check_may_leave(found: Sequence[Member], host_id: str, name: str, hosts: Collection[str]) -> None:
    """Raise Busy while the store needs the etcd of a host; ``hosts`` are those of the fleet, by id."""
    voters = [etcd_options.host_of(one.name) for one in found if not one.is_learner]
    if voters and set(voters) == {host_id}:
        raise Busy(
            f"The etcd of {name} is the only one that votes: without it the store of this service ends. Let "
            f"another host with the role store join, or drain {name} if there is one, and wait until that "
            "one's etcd votes ('cenote store status')."
        )
    if member_plan.is_needed(host_id, voters, hosts):
        raise Busy(
            f"The members of the store are being changed, and the etcd of {name} is needed for that. Try "
            "again in a few seconds ('cenote store status')."
        )


async def ensure_peer_url(client: EtcdClient, peer_url: str) -> None:
    """Have all members know where the one that answers listens for them."""
    own = (await client.status()).header.member
    found = next((one for one in await listed(client) if one.id == own), None)
    if found is not None and found.peer_urls != [peer_url]:
        await _patiently(client, "update", {"ID": own, "peerURLs": [peer_url]})


def _at(members: list[Member], peer_url: str) -> Member | None:
    return next((one for one in members if peer_url in one.peer_urls), None)


async def _patiently(client: EtcdClient, action: str, request: object) -> MembersResponse:
    deadline = time.monotonic() + UNHEALTHY_SECONDS
    passing = (*_PASSING, _SAME_SECOND) if action == "add" else _PASSING
    while True:
        try:
            return await client.membership(action, request)
        except Unavailable as error:
            if not any(words in error.message for words in passing) or time.monotonic() > deadline:
                raise
        await asyncio.sleep(PAUSE_SECONDS)
