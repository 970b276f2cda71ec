"""Several hosts of one fleet in network namespaces of their own, with accounts and folders of their own."""

from __future__ import annotations

import contextlib
import os
import pwd
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from cenote.model.fleet_ports import COUNT
from tests.support.fleet import Fleet, FleetHost
from tests.support.folders import server_folder
from tests.support.namespaces import Network, accounts, network
from tests.support.ports import free_range


class NetworkFleet(Fleet):
    """Hosts that have joined one another; ``servers`` and ``apis`` are the accounts, one for each host."""

    def __init__(
        self,
        root: Path,
        reached_by: Network,
        servers: Sequence[str],
        apis: Sequence[str],
        *,
        small_disks: bool = False,
    ) -> None:
        super().__init__(root, None, small_disks=small_disks)
        self.network, self._servers, self._apis = reached_by, servers, apis

    def _folder(self, number: int) -> Path:
        """Make a data directory in a folder that only the host's two accounts can pass through."""
        closed = self._root / str(number)
        closed.mkdir(mode=0o700)
        api, servers = (pwd.getpwnam(names[number - 1]) for names in (self._apis, self._servers))
        os.chown(closed, api.pw_uid, servers.pw_gid)
        closed.chmod(0o110)
        data_dir = closed / "data"
        data_dir.mkdir(mode=0o711)
        return data_dir

    def _host(
        self, data_dir: Path, number: int, *options: str, clusters: int, command: Sequence[str]
    ) -> FleetHost:
        return FleetHost(
            data_dir,
            number,
            f"--account={self._servers[number - 1]}",
            f"--api-account={self._apis[number - 1]}",
            *options,
            fleet_port=free_range(COUNT),
            clusters=clusters,
            address=self.network.address(number),
            command=(*self.network.inside(number), *command),
        )


@contextlib.contextmanager
def network_fleet(count: int, *, clusters: int = 4, small_disks: bool = False) -> Iterator[NetworkFleet]:
    """``count`` hosts that serve; the test is skipped where there can be no namespaces."""
    with network(count) as made, accounts(2 * count) as names, server_folder() as root:
        hosts = NetworkFleet(root, made, names[:count], names[count:], small_disks=small_disks)
        try:
            for _ in range(count):
                hosts.add(clusters=clusters)
            yield hosts
        except BaseException:
            for host in hosts.hosts:
                sys.stderr.write(f"--- {host.name}\n{host.log()[-5000:]}\n")
            raise
        finally:
            hosts.close()
