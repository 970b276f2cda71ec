"""Several hosts of one fleet: services on 127.0.1.1, 127.0.1.2, …, with data directories of their own.

They share an etcd that stands outside of them, and the keys of the first host are copied to the others; or,
``joined``, they have an etcd of their own, and each has joined the first one by a token.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cenote.host import processes
from cenote.model.fleet_ports import COUNT
from cenote.model.paths import Layout
from cenote.security.sealing import Sealer
from cenote.server.settings import EtcdSettings
from cenote.store import fleet as fleet_records
from cenote.store.keys import Keys
from tests.support import small_disk
from tests.support.folders import server_folder
from tests.support.outside import PASSWORD, Outside, outside_etcd
from tests.support.ports import free_range
from tests.support.service import CENOTE, WITHOUT_LIMITS, Service, tried
from tests.support.threads import in_a_thread


class FleetHost(Service):
    """One host: ``cenote serve --address``."""

    def __init__(
        self,
        data_dir: Path,
        number: int,
        *options: str,
        fleet_port: int,
        clusters: int = 12,
        limits: Sequence[str] = WITHOUT_LIMITS,
        address: str = "",
        command: Sequence[str] = (CENOTE,),
        backups_by_default: bool = False,
    ) -> None:
        """With another program in ``command`` it is a former version, which knows no fleet."""
        self.fleet: Sequence[Service] = (self,)
        self.number, self.name, self.address = number, f"host-{number}", address or f"127.0.1.{number}"
        self.fleet_port = fleet_port
        self._given, self._limits = options, limits
        super().__init__(
            data_dir,
            *self._options_of(command),
            environment={"CENOTE_ETCD_PASSWORD": PASSWORD},
            clusters=clusters,
            command=command,
            backups_by_default=backups_by_default,
        )

    @property
    def hosts(self) -> Sequence[Service]:
        return self.fleet

    def _options_of(self, command: Sequence[str]) -> tuple[str, ...]:
        of_fleet = (f"--address={self.address}", f"--fleet-port={self.fleet_port}")
        place = of_fleet if command[-1] == CENOTE else (f"--public-host={self.address}",)
        return (*place, f"--name={self.name}", *self._limits, *self._given)

    def exchange(self, command: Sequence[str] = (CENOTE,)) -> None:
        """Have another version of the service go on, by default the present one."""
        self.end()
        self.command, self._options = command, self._options_of(command)
        self.start()

    def lose(self) -> None:
        """Kill the service and all its servers at once, as a machine that loses its power."""
        victims = {self.pid, *self.processes().values(), *self.servers_of_all()}
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.wait()
        for process in processes.below(self.data_dir):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)

    def servers_of_all(self) -> set[int]:
        """Return the pids of all that works in the data directory."""
        return {process.pid for process in processes.below(self.data_dir)}


class Fleet:
    def __init__(
        self,
        root: Path,
        outside: Outside | None,
        limits: Sequence[str] = WITHOUT_LIMITS,
        *,
        backups_by_default: bool = False,
        small_disks: bool = False,
    ) -> None:
        """``outside`` is the etcd; None if the hosts join one another.

        ``small_disks``: each data directory is a file system of its own.
        """
        self._small_disks = small_disks
        self._root, self.outside, self._limits = root, outside, limits
        self._backups_by_default = backups_by_default
        self.hosts: list[FleetHost] = []
        self._stack = contextlib.ExitStack()

    def add(self, *options: str, clusters: int = 12, command: Sequence[str] = (CENOTE,)) -> FleetHost:
        """Start one more host and return it once it serves."""
        number = len(self.hosts) + 1
        data_dir = self._folder(number)
        if self._small_disks:
            small_disk.mount(data_dir)
            self._stack.callback(small_disk.unmount, data_dir)
        given = (*(self._etcd(data_dir) if self.outside is not None else self._join(options)), *options)
        host = self._host(data_dir, number, *given, clusters=clusters, command=command)
        host.fleet = self.hosts
        self.hosts.append(host)
        self._stack.callback(host.clean_up)
        host.start()
        return host

    def _folder(self, number: int) -> Path:
        data_dir = self._root / str(number)
        data_dir.mkdir(mode=0o711)
        return data_dir

    def _host(
        self, data_dir: Path, number: int, *options: str, clusters: int, command: Sequence[str]
    ) -> FleetHost:
        return FleetHost(
            data_dir,
            number,
            *options,
            fleet_port=free_range(COUNT),
            clusters=clusters,
            limits=self._limits,
            command=command,
            backups_by_default=self._backups_by_default,
        )

    def _join(self, options: tuple[str, ...]) -> tuple[str, ...]:
        given = any(option.startswith("--join=") for option in options)
        return () if given or not self.hosts else (f"--join={token_of(self.hosts[0])}",)

    def _etcd(self, data_dir: Path) -> tuple[str, ...]:
        if self.hosts:
            copy_keys(Layout(self.hosts[0].data_dir), Layout(data_dir))
        outside = self.outside
        assert outside is not None
        return (
            f"--etcd={outside.url}",
            f"--etcd-ca={outside.certificate}",
            f"--etcd-cert={outside.certificate}",
            f"--etcd-key={outside.key}",
            "--etcd-user=root",
        )

    async def authority(self) -> tuple[str, str]:
        """Return the certificate and the private key of the fleet's CA."""
        first = Layout(self.hosts[0].data_dir)
        assert self.outside is not None
        client = self.outside.client()
        try:
            found = await fleet_records.authority(client, Keys(EtcdSettings().prefix))
        finally:
            await client.close()
        assert found is not None
        return found.certificate, Sealer(first.api_sealing_key).open(found.sealed_key).reveal()

    def close(self) -> None:
        self._stack.close()


def token_of(host: Service, *options: str) -> str:
    """The token in the command that ``cenote host token`` prints."""
    command = host.cenote("host", "token", *options).split()
    assert command[:3] == ["cenote", "serve", "--address"]
    return command[-1]


def answers(hosts: Iterable[FleetHost], cluster: Any) -> bool:
    """Whether a cluster answers on one of the hosts, on whichever it was placed."""
    uri = cluster["connection"]["uri"]
    return any(tried(uri, host=host.address) == 42 for host in hosts)


def copy_keys(first: Layout, other: Layout) -> None:
    """Give another host the key rings, the API's CA and the administrator's token of the first."""
    for path in (
        first.api_sealing_key,
        first.api_host_keys,
        first.host_keys,
        first.authority,
        first.authority_key,
        first.admin_token,
    ):
        copy = other.data_dir / path.relative_to(first.data_dir)
        copy.parent.mkdir(mode=0o700, exist_ok=True)
        shutil.copy2(path, copy)
        owner = path.stat()
        os.chown(copy, owner.st_uid, owner.st_gid)
        os.chown(copy.parent, path.parent.stat().st_uid, path.parent.stat().st_gid)


@contextlib.contextmanager
def fleet(
    count: int,
    *options: str,
    clusters: int = 12,
    joined: bool = False,
    limits: Sequence[str] = WITHOUT_LIMITS,
    backups_by_default: bool = False,
    small_disks: bool = False,
) -> Iterator[Fleet]:
    """``count`` hosts that serve; all is stopped and removed at the end.

    ``limits``: the options for the limits of requests; none for those that a service has by itself.
    """
    with contextlib.ExitStack() as stack:
        root = stack.enter_context(server_folder())
        outside = None if joined else stack.enter_context(in_a_thread(outside_etcd()))
        hosts = Fleet(root, outside, limits, backups_by_default=backups_by_default, small_disks=small_disks)
        try:
            for _ in range(count):
                hosts.add(*options, clusters=clusters)
            yield hosts
        finally:
            hosts.close()
