"""How the members of the store are: which answer, which votes, which leads; and what that means, in words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from cenote.errors import Unavailable
from cenote.store import etcd_options, members
from cenote.store.client import EtcdClient
from cenote.store.member_file import Seat

ANSWER_SECONDS = 2.0


class MemberState(msgspec.Struct, frozen=True, kw_only=True):
    """A member, by the id of its host; ``size`` is that of its file, in bytes."""

    host: str
    url: str
    votes: bool
    started: bool = True
    answers: bool = False
    leads: bool = False
    size: int = 0


async def look(
    client: EtcdClient, at: Callable[[str, str], EtcdClient], seats: Sequence[Seat]
) -> list[MemberState]:
    """Ask all members; ``at`` makes a client of the one of a host at a URL.

    ``seats`` are the members that were known last, for when nobody answers.
    """
    try:
        async with asyncio.timeout(3 * ANSWER_SECONDS):
            found = [
                MemberState(
                    host=etcd_options.host_of(one.name),
                    url=next(iter(one.client_urls or one.peer_urls), ""),
                    votes=not one.is_learner,
                    started=bool(one.name),
                )
                for one in await members.listed(client)
            ]
    except (Unavailable, TimeoutError):
        found = [MemberState(host=seat.host, url=seat.url, votes=seat.voter) for seat in seats]
    return list(await asyncio.gather(*(_asked(one, at) for one in found)))


async def _asked(member: MemberState, at: Callable[[str, str], EtcdClient]) -> MemberState:
    if not member.started:
        return member
    client = at(member.host, member.url)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            status = await client.status()
    except (Unavailable, TimeoutError):
        return member
    finally:
        await client.close()
    leads = bool(status.leader) and status.leader == status.header.member
    return msgspec.structs.replace(member, answers=True, leads=leads, size=status.size)


async def numbers(client: EtcdClient) -> tuple[int, int, bool] | None:
    """Return how many members vote, how many of these answer, and whether one leads; None if that is unknown.

    Of an etcd of ours only: others' may not let this host reach each member.
    """
    if not client.is_ours:
        return None
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            found = [one for one in await members.listed(client) if not one.is_learner]
            leader = (await client.status()).leader
    except (Unavailable, TimeoutError):
        return None
    urls = [url for one in found for url in one.client_urls[:1] if url.startswith("https:")]
    up = await asyncio.gather(*(client.answers(url, ANSWER_SECONDS) for url in urls))
    return len(found), sum(up) if urls else len(found), bool(leader)


def row(member: MemberState, names: Mapping[str, str]) -> dict[str, Any]:
    """Return a member as the command line shows it."""
    kind = "votes" if member.votes else "learns"
    state = "answers" if member.answers else "does not answer" if member.started else "is being added"
    return {
        "host": names.get(member.host, member.host),
        "url": member.url,
        "kind": "leads" if member.leads else kind,
        "state": state,
        "size_mib": round(member.size / (1 << 20), 1) if member.answers else None,
    }


def in_words(found: Sequence[MemberState], names: Mapping[str, str]) -> str:
    """Return what the state of the members means, and what to do, if anything."""
    voters = [one for one in found if one.votes]
    up = [one for one in voters if one.answers]
    down = ", ".join(sorted(names.get(one.host, one.host) or one.url for one in voters if not one.answers))
    count = f"{len(up)} of {len(voters)} members that vote answer" + ("s" if len(up) == 1 else "")
    if not voters:
        return "no member of the store is known here; start Cenote on this host"
    if 2 * len(up) <= len(voters):
        return (
            f"{count}, which is no majority: changes are refused, databases and pools go on; start Cenote on "
            f"{down}. Only if these hosts are lost for good: 'cenote store recover' on one that answers"
        )
    if not any(one.leads for one in up):
        return f"{count}, and they are choosing one that leads; changes wait for that"
    if down:
        return (
            f"{count}: changes are taken, until another one is lost; start Cenote on {down}, or, if the disk "
            "of its etcd is lost, run 'cenote store replace' there; if the host is lost, 'cenote host remove'"
        )
    if len(voters) == 1:
        return f"{count}; with three hosts that have the role store, changes go on when one is lost"
    return f"{count}; changes go on when one of them is lost"
