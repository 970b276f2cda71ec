"""The members of the store: whatever happens to hosts, the plan never takes the majority away, and ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cenote.store.etcd_messages import Member
from cenote.store.etcd_options import name_of
from cenote.store.member_plan import Add, Promote, Remove, Step, StoreHost, Tell, is_needed, plan

MOST_STEPS = 20


class World:
    """Hosts and members, and what the steps of a plan do to them."""

    def __init__(self) -> None:
        self.hosts: dict[str, StoreHost] = {}
        self.members: list[Member] = []
        self.left: dict[str, bool] = {}  # hosts that were removed, and whether they still run
        self.made = 0
        self.add_host()
        first = next(iter(self.hosts.values()))
        self.members = [self._member(first, is_learner=False, name=name_of(first.id))]

    def add_host(self) -> None:
        self.made += 1
        id = str(self.made)
        self.hosts[id] = StoreHost(id, f"https://{id}:1", alive=True, zone=str(self.made % 2))

    def set_alive(self, number: int, alive: bool) -> None:
        if self.hosts:
            host = list(self.hosts.values())[number % len(self.hosts)]
            self.hosts[host.id] = replace(host, alive=alive)

    def drain(self, number: int, leaving: bool) -> None:
        host = list(self.hosts.values())[number % len(self.hosts)]
        self.hosts[host.id] = replace(host, leaving=leaving)

    def remove_host(self, number: int) -> None:
        id = list(self.hosts)[number % len(self.hosts)]
        if not is_needed(id, [self._host_of(one) for one in self.voters], self.hosts):
            self.left[id] = self.hosts.pop(id).alive

    @staticmethod
    def _host_of(member: Member) -> str:
        return member.peer_urls[0].removeprefix("https://").partition(":")[0]

    def runs(self, member: Member) -> bool:
        id = self._host_of(member)
        return self.hosts[id].alive if id in self.hosts else self.left.get(id, False)

    @property
    def voters(self) -> list[Member]:
        return [one for one in self.members if not one.is_learner]

    @property
    def has_majority(self) -> bool:
        return 2 * sum(map(self.runs, self.voters)) > len(self.voters)

    def start_members(self) -> None:
        """Start what agents were told to start."""
        told = {host.told for host in self.hosts.values() if host.alive}
        self.members = [
            self._started(one) if not one.name and one.id in told else one for one in self.members
        ]

    def do(self, step: Step) -> None:
        match step:
            case Tell(host, member):
                self.hosts[host] = replace(self.hosts[host], told=member)
            case Add(host):
                assert self.hosts[host].alive
                assert not any(one.is_learner for one in self.members), "etcd takes one learner"
                self.members.append(self._member(self.hosts[host]))
            case Promote(member):
                assert next(one for one in self.members if one.id == member).name, "it must have started"
                self.members = [
                    Member(one.id, one.name, one.peer_urls, one.client_urls) if one.id == member else one
                    for one in self.members
                ]
            case Remove(member):
                self.members = [one for one in self.members if one.id != member]

    def _member(self, host: StoreHost, *, is_learner: bool = True, name: str = "") -> Member:
        self.made += 1
        return Member(1000 + self.made, name, [host.peer_url], [], is_learner)

    def _started(self, one: Member) -> Member:
        id = self._host_of(one)
        return Member(one.id, name_of(id), one.peer_urls, one.client_urls, one.is_learner)


EVENTS = st.lists(
    st.one_of(
        st.just(("add", 0)),
        st.tuples(st.sampled_from(["die", "return", "remove", "drain", "undrain"]), st.integers(0, 5)),
        st.tuples(st.just("steps"), st.integers(1, 6)),
    ),
    max_size=25,
)


def carry_out(world: World, steps: int) -> bool:
    """Take some steps; return whether the plan has ended."""
    for _ in range(steps):
        if not world.has_majority:
            return True  # etcd takes no change
        step = plan(world.members, world.hosts, world.voters[0].id)
        if step is None:
            return True
        world.do(step)
        assert world.voters
        assert len([one for one in world.members if one.is_learner]) <= 1
        assert len(world.voters) <= 3
        if isinstance(step, Remove):
            assert world.has_majority, "a member was removed that the majority needed"
        world.start_members()
    return False


@given(EVENTS)
def test_the_majority_stays_and_the_plan_ends_in_one_or_three_that_vote(
    events: list[tuple[str, int]],
) -> None:
    world = World()
    for what, number in events:
        match what:
            case "add":
                world.add_host()
            case "die":
                world.set_alive(number, alive=False)
            case "return":
                world.set_alive(number, alive=True)
            case "remove":
                world.remove_host(number)
            case "drain" | "undrain":
                world.drain(number, leaving=what == "drain")
            case "steps":
                carry_out(world, number)
        world.start_members()
    if not world.has_majority:
        return  # for "cenote store recover"
    for number in range(len(world.hosts)):
        world.set_alive(number, alive=True)
    world.start_members()
    assert carry_out(world, MOST_STEPS), "the plan does not end"
    assert len(world.voters) == (3 if len(world.hosts) >= 3 else 1)
    assert len(world.members) == min(3, len(world.hosts))
    by_url = {host.peer_url: host for host in world.hosts.values()}
    if len(world.voters) == 1 and by_url[world.voters[0].peer_urls[0]].leaving:
        assert all(host.leaving for host in world.hosts.values()), "the only one that votes is on its way out"
    assert {one.id for one in world.members} == {host.told for host in world.hosts.values() if host.told} & {
        one.id for one in world.members
    }


def hosts(count: int, **changes: StoreHost) -> dict[str, StoreHost]:
    told = {str(n): n for n in range(1, 5)}
    made = {str(n): StoreHost(str(n), f"https://{n}:1", True, told=told[str(n)]) for n in range(1, count + 1)}
    return made | changes


def member(number: int, *, learner: bool = False, started: bool = True) -> Member:
    name = name_of(str(number)) if started else ""
    return Member(number, name, [f"https://{number}:1"], [], learner)


@pytest.mark.parametrize(
    ("members", "known", "step"),
    [
        ([member(1)], hosts(1), None),
        ([member(1)], hosts(2), Add("2")),
        ([member(1), member(2, learner=True)], hosts(2), None),
        ([member(1), member(2, learner=True)], hosts(3), Promote(2)),
        ([member(1), member(2, learner=True, started=False)], hosts(3), None),
        ([member(1), member(2)], hosts(3), Add("3")),
        ([member(1), member(2), member(3, learner=True)], hosts(3), Promote(3)),
        ([member(1), member(2), member(3)], hosts(4), None),
        ([Member(9, "cenote", ["unix://peer.sock:0"])], hosts(2), None),
    ],
)
def test_the_steps_of_growing(members: list[Member], known: dict[str, StoreHost], step: Step | None) -> None:
    assert plan(members, known, 1) == step


def test_a_host_that_is_away_keeps_its_seat_until_it_is_removed() -> None:
    away = StoreHost("3", "https://3:1", False, told=3)
    three = [member(1), member(2), member(3)]
    assert plan(three, hosts(4, **{"3": away}), 1) is None
    removed = {id: host for id, host in hosts(4).items() if id != "3"}
    assert isinstance(plan(three, removed, 1), Remove)
    assert plan(three[:2], removed, 1) == Add("4")


def test_with_two_hosts_left_one_member_votes_and_the_leader_is_kept() -> None:
    step = plan([member(1), member(2)], hosts(2), 2)
    assert isinstance(step, Remove)
    assert step.member == 1


def test_the_last_member_that_votes_goes_only_after_another_votes() -> None:
    left = {"2": hosts(2)["2"]}
    assert plan([member(1), member(2, learner=True)], left, 1) == Promote(2)
    assert isinstance(plan([member(1), member(2)], left, 1), Remove)
    assert plan([member(1)], left, 1) == Add("2")


def test_another_one_votes_before_the_host_of_the_only_one_leaves() -> None:
    known = hosts(2, **{"1": StoreHost("1", "https://1:1", True, told=1, leaving=True)})
    assert plan([member(1)], known, 1) == Add("2")
    assert plan([member(1), member(2, learner=True)], known, 1) == Promote(2)
    step = plan([member(1), member(2)], known, 1)
    assert isinstance(step, Remove)
    assert step.member == 1
    assert plan([member(2)], known, 2) == Add("1")
    assert plan([member(2), member(1, learner=True)], known, 2) is None
    both = {id: replace(host, leaving=True) for id, host in known.items()}
    assert plan([member(1), member(2, learner=True)], both, 1) is None


def test_a_host_that_never_started_takes_no_seat() -> None:
    phantom = StoreHost("3", "https://3:1", False, started=False)
    known = hosts(2) | {"3": phantom}
    assert plan([member(1), member(2, learner=True)], known, 1) is None
    assert isinstance(plan([member(1), member(2)], known, 1), Remove)
    away = hosts(2) | {"3": replace(phantom, started=True)}
    assert plan([member(1), member(2)], away, 1) is None
