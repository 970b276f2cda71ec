"""Caps of connections: in total, for each address, and the reserve of this machine."""

from __future__ import annotations

import pytest

from cenote.http.admission import Admission


def test_an_address_has_a_cap_and_others_are_let_in() -> None:
    admission = Admission(1000, 3)
    entered = [admission.enter("192.0.2.1") for _ in range(5)]
    assert entered == ["192.0.2.1"] * 3 + [None] * 2
    assert admission.enter("192.0.2.2") is not None
    assert (admission.total, admission.refused) == (4, 2)
    admission.leave("192.0.2.1")
    assert admission.enter("192.0.2.1") is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8::1", "2001:db8::ffff:1"),
        ("192.0.2.1", "::ffff:192.0.2.1"),
        ("fe80::1%eth0", "fe80::2%eth0"),
    ],
)
def test_what_one_client_can_have_is_counted_as_one_address(one: str, other: str) -> None:
    admission = Admission(1000, 1)
    assert admission.enter(one) is not None
    assert admission.enter(other) is None
    assert admission.enter("2001:db8:1::1") is not None


@pytest.mark.parametrize("here", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_clients_of_this_machine_get_in_when_others_have_taken_the_rest(here: str) -> None:
    admission = Admission(160, 0)
    while admission.enter("192.0.2.1") is not None:
        pass
    assert admission.total == 150
    entered = [admission.enter(here) for _ in range(11)]
    assert entered.count(None) == 1


def test_all_who_leave_leave_nothing() -> None:
    admission = Admission(1000, 10)
    entered = [admission.enter(f"192.0.2.{number}") for number in range(200)]
    for source in entered:
        assert source is not None
        admission.leave(source)
    assert admission.total == 0
    assert not admission._open
