"""Wording of advice: numbers, durations and recurring phrases."""

from __future__ import annotations

from cenote.stats.facts import MachineFacts, PoolFacts

BUSY_SHARE = 0.85  # of the processors, from which they count as busy


def waiting_clients(one: PoolFacts) -> str:
    waiting, servers = one.recent.waiting, one.recent.servers_active
    clients = "client waits" if waiting <= 1 else "clients wait"
    return f"On average {number(waiting)} {clients}, with {number(servers)} of {one.pool.size} servers busy"


def waiting_numbers(one: PoolFacts, machine: MachineFacts | None) -> dict[str, float]:
    recent = one.recent
    found = {
        "clients_waiting": recent.waiting,
        "servers_active": recent.servers_active,
        "longest_wait": recent.longest_wait,
    }
    return found if machine is None else found | {"processors_busy": machine.busy}


def while_idle(machine: MachineFacts, load: float) -> str:
    if machine.busy < BUSY_SHARE:
        return f"while {percent(1 - machine.busy)} of the processors are idle"
    return "while the pool's queries take hardly any processor time"


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or abs(value - round(value)) < 0.05 else f"{value:.1f}"


def few(value: float) -> str:
    if value < 0.05:
        return "hardly any of them is"
    return f"{number(value)} of them {'is' if value <= 1 else 'are'}"


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def duration(seconds: float) -> str:
    if seconds >= 1:
        return f"{number(seconds)} s"
    return f"{1000 * seconds:.3g} ms"


def plural(number: int, one: str, more: str) -> str:
    return f"1 {one}" if number == 1 else f"{number} {more}"
