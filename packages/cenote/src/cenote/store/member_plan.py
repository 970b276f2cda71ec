"""Which host's etcd is a member of the store, and as what: the next step, as a pure function of what is seen.

One or three members vote: two would both be needed, so that either one's loss ends writes.  A second member
is a learner, a copy without a vote, until a third host is there.  etcd takes one learner at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

import msgspec

from cenote.store import etcd_options
from cenote.store.etcd_messages import Member

VOTERS = 3


class StoreHost(msgspec.Struct, frozen=True):
    """A host of the fleet with the role store.

    ``told`` is the id of the member that its agent was told to start, 0 if none.  One that has joined and
    never ``started`` takes no seat, and one that is ``leaving`` is drained: another one is to vote before it
    goes.
    """

    id: str
    peer_url: str
    alive: bool
    zone: str = ""
    told: int = 0
    started: bool = True
    leaving: bool = False


class Add(msgspec.Struct, frozen=True):
    """Have the etcd of a host as a learner."""

    host: str


class Tell(msgspec.Struct, frozen=True):
    """Tell the agent of a host which member its etcd is."""

    host: str
    member: int


class Promote(msgspec.Struct, frozen=True):
    member: int


class Remove(msgspec.Struct, frozen=True):
    """``why`` is in words."""

    member: int
    why: str


Step: TypeAlias = Add | Tell | Promote | Remove


class _Seats:
    """The members by what they are."""

    def __init__(self, members: Sequence[Member], hosts: Mapping[str, StoreHost]) -> None:
        self.hosts = hosts
        self.host_of = {one.id: host for one in members if (host := _host_of(one, hosts)) is not None}
        self.voters = [one for one in members if not one.is_learner]
        self.learners = [one for one in members if one.is_learner]

    def alive(self, member: Member) -> bool:
        host = self.host_of.get(member.id)
        return host is not None and host.alive

    def leaving(self, member: Member) -> bool:
        host = self.host_of.get(member.id)
        return host is not None and host.leaving

    @property
    def expected(self) -> int:
        """How many hosts can be members, now or when they are back."""
        return sum(host.started for host in self.hosts.values())

    @property
    def candidates(self) -> list[StoreHost]:
        """The hosts that can become members: those that stay first, then those in zones of their own."""
        seated = {host.id for host in self.host_of.values()}
        zones = {host.zone for host in self.host_of.values()}
        free = [host for host in self.hosts.values() if host.id not in seated and host.alive]
        return sorted(free, key=lambda host: (host.leaving, host.zone in zones, host.id))

    def can_lose(self, voter: Member) -> bool:
        """Whether most of the voters that are left then are alive."""
        left = [one for one in self.voters if one.id != voter.id]
        return 2 * sum(map(self.alive, left)) > len(left)


def _host_of(member: Member, hosts: Mapping[str, StoreHost]) -> StoreHost | None:
    """Return the host of a member; one that has not been started yet is known by its address alone."""
    by_name = hosts.get(etcd_options.host_of(member.name))
    if by_name is not None or member.name:
        return by_name
    return next((host for host in hosts.values() if host.peer_url in member.peer_urls), None)


def is_needed(host: str, voters: Collection[str], hosts: Collection[str]) -> bool:
    """Return whether a host cannot be removed now: too few that vote would be of hosts in the fleet.

    ``voters`` and ``hosts`` are ids of hosts.  The members of hosts that are not in the fleet may end at any
    moment.
    """
    stay = [one for one in voters if one in hosts and one != host]
    return host in voters and 2 * len(stay) <= len(voters)


def plan(members: Sequence[Member], hosts: Mapping[str, StoreHost], leader: int = 0) -> Step | None:
    """Return the next step; None when there is none, or when it has to wait for a host."""
    if any(url.startswith("unix:") for one in members for url in one.peer_urls):
        return None  # the first member does not listen for others yet
    seats = _Seats(members, hosts)
    return (
        _without_host(seats)
        or _untold(seats)
        or _before_it_leaves(seats)
        or _towards_the_right_number(seats, leader)
    )


def _without_host(seats: _Seats) -> Step | None:
    """Remove a member whose host has left the fleet, or its role; the last that votes after another does."""
    for learner in seats.learners:
        if learner.id not in seats.host_of:
            return Remove(learner.id, "its host has left the fleet or has the role store no more")
    for voter in seats.voters:
        if voter.id in seats.host_of:
            continue
        if seats.can_lose(voter):
            return Remove(voter.id, "its host has left the fleet or has the role store no more")
        if len(seats.voters) == 1:
            return _successor(seats)
    return None


def _successor(seats: _Seats) -> Step | None:
    for learner in seats.learners:
        host = seats.host_of[learner.id]
        if host.told != learner.id:
            return Tell(host.id, learner.id)
        return Promote(learner.id) if learner.name and host.alive else None
    return next((Add(host.id) for host in seats.candidates), None)


def _before_it_leaves(seats: _Seats) -> Step | None:
    """Have another one vote while the host of the only member that does is drained."""
    if len(seats.voters) != 1 or not seats.leaving(seats.voters[0]):
        return None
    heirs = [seats.host_of[one.id] for one in seats.learners] or seats.candidates[:1]
    return None if any(host.leaving for host in heirs) else _successor(seats)


def _untold(seats: _Seats) -> Step | None:
    for one in (*seats.voters, *seats.learners):
        host = seats.host_of.get(one.id)
        if host is not None and host.told != one.id:
            return Tell(host.id, one.id)
    return None


def _towards_the_right_number(seats: _Seats, leader: int) -> Step | None:
    voters, candidates = len(seats.voters), seats.candidates
    if seats.expected >= VOTERS:
        return _towards_three(seats, voters, candidates)
    if voters > 1 and all(map(seats.alive, seats.voters)):
        spare = min(seats.voters, key=lambda one: (not seats.leaving(one), one.id == leader))
        return Remove(spare.id, "two members that vote would both be needed")
    if voters == 1 and not seats.learners and candidates:
        return Add(candidates[0].id)
    return None


def _towards_three(seats: _Seats, voters: int, candidates: list[StoreHost]) -> Step | None:
    for learner in seats.learners:
        if voters >= VOTERS:
            return Remove(learner.id, f"{VOTERS} others vote")
        if not seats.alive(learner):
            return (
                Remove(learner.id, "its host is away, and another one can take its place")
                if candidates
                else None
            )
        # With two that vote, both are needed: the third has to be at hand.
        if learner.name and (voters == VOTERS - 1 or candidates):
            return Promote(learner.id)
        return None
    return Add(candidates[0].id) if voters < VOTERS and candidates else None
