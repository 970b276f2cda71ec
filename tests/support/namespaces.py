"""A network of hosts on one machine: network namespaces on a switch, each of which can be cut off.

Only root can make them.  Their addresses exist in these namespaces alone, so nothing reaches the machine's
own network, and several runs can have the same ones.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

_SUBNET = "10.87.0"
_NAMESPACES = Path("/run/netns")
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_NOBODY = "02:00:00:00:00:fe"


class Network:
    """``count`` hosts, numbered from 1, and one more namespace for clients."""

    CLIENTS = f"{_SUBNET}.250"

    def __init__(self, count: int) -> None:
        self._mark = f"cnt{secrets.token_hex(3)}"
        self._names: list[str] = []
        self._switch = self._name("switch")
        self._count = count

    def open(self) -> None:
        """Make the namespaces; RuntimeError where that cannot be."""
        self._add("switch")
        self._ip("-n", self._switch, "link", "add", "bridge", "type", "bridge")
        self._ip("-n", self._switch, "link", "set", "bridge", "up")
        for number in range(1, self._count + 1):
            self._plug(self._add(str(number)), number)
        self._plug(self._add("clients"), int(self.CLIENTS.rsplit(".", 1)[1]))

    @staticmethod
    def address(number: int) -> str:
        return f"{_SUBNET}.{number}"

    def inside(self, number: int) -> tuple[str, ...]:
        """Return what runs a command on a host."""
        return ("ip", "netns", "exec", self._name(str(number)))

    def ask(
        self, *command: str, environment: Mapping[str, str] | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as a client, which reaches the hosts as they reach one another."""
        return subprocess.run(
            ["ip", "netns", "exec", self._name("clients"), *command],
            capture_output=True,
            text=True,
            env=environment,
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=timeout,
        )

    @contextlib.contextmanager
    def visit(self, number: int | None = None) -> Iterator[None]:
        """What this thread connects to meanwhile, it reaches as a client does, or as a host."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(_NAMESPACES / self._name("clients" if number is None else str(number)), os.O_RDONLY)
        try:
            _enter(there)
            yield
        finally:
            _enter(before)
            os.close(there)
            os.close(before)

    def cut_off(self, number: int) -> None:
        """Let no packet of a host reach another one; on the host itself all goes on."""
        self._ip("-n", self._switch, "link", "set", f"port{number}", "down")

    def heal(self, number: int) -> None:
        self._ip("-n", self._switch, "link", "set", f"port{number}", "up")

    def part(self, one: int, other: int) -> None:
        """Let two hosts reach all but each other: what they send goes to no one, silently."""
        for here, there in ((one, other), (other, one)):
            self._neighbour("replace", here, there, "lladdr", _NOBODY, "nud", "permanent")

    def join(self, one: int, other: int) -> None:
        for here, there in ((one, other), (other, one)):
            self._neighbour("delete", here, there)

    def close(self) -> None:
        for name in self._names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)

    def _neighbour(self, action: str, here: int, there: int, *how: str) -> None:
        self._ip("-n", self._name(str(here)), "neighbour", action, self.address(there), "dev", "eth0", *how)

    def _plug(self, name: str, number: int) -> None:
        port = f"port{number}"
        self._ip(*("-n", self._switch, "link", "add", port, "type", "veth", "peer", "name", "eth0"))
        self._ip("-n", self._switch, "link", "set", "eth0", "netns", name)
        self._ip("-n", self._switch, "link", "set", port, "master", "bridge", "up")
        self._ip("-n", name, "address", "add", f"{self.address(number)}/24", "dev", "eth0")
        self._ip("-n", name, "link", "set", "eth0", "up")
        self._ip("-n", name, "link", "set", "lo", "up")

    def _add(self, what: str) -> str:
        name = self._name(what)
        self._names.append(name)
        self._ip("netns", "add", name)
        return name

    def _name(self, what: str) -> str:
        return f"{self._mark}-{what}"

    @staticmethod
    def _ip(*arguments: str) -> None:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def _enter(namespace: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextlib.contextmanager
def network(count: int) -> Iterator[Network]:
    """A network of hosts; the test is skipped where there can be none."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    made = Network(count)
    try:
        try:
            made.open()
        except RuntimeError as error:
            pytest.skip(f"network namespaces cannot be made here: {error}")
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def accounts(count: int) -> Iterator[Sequence[str]]:
    """System users of their own for the servers of each host, removed at the end."""
    mark = f"cnt{secrets.token_hex(3)}"
    names = [f"{mark}-{number}" for number in range(1, count + 1)]
    made: list[str] = []
    try:
        for name in names:
            subprocess.run(
                ["useradd", "--system", "--user-group", "--no-create-home", name],
                check=True,
                capture_output=True,
            )
            made.append(name)
        yield names
    finally:
        for name in made:
            subprocess.run(["userdel", name], check=False, capture_output=True)
