"""What this host has for Patroni, which runs the nodes of clusters with several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from cenote.host import launcher_archive, programs
from cenote.model.failover import HostFailover
from cenote.security.sealing import Sealer
from cenote.server import stores
from cenote.server.installation import Installation
from cenote.store import member_file
from cenote.store.keys import Keys

LAUNCHER = launcher_archive.content()  # before a process gives up its rights


def version(installation: Installation) -> str:
    """Return the version of Patroni with which this host runs clusters of several nodes, "" without any."""
    found = installation.programs.patroni
    is_usable = programs.without_patroni(installation.programs) is None and not stores.is_external(
        installation
    )
    return found.version if found is not None and is_usable else ""


def _endpoints(installation: Installation) -> Callable[[], Sequence[Path | str]]:
    layout = installation.layout
    if installation.settings.address is None:
        return lambda: [layout.etcd_servers_socket]
    return lambda: [seat.url for seat in member_file.read(layout.members) if seat.voter]


def of_host(installation: Installation, sealer: Sealer) -> HostFailover | None:
    """Return it; None where Patroni is missing, or reaches no etcd of ours on this host."""
    found = installation.programs.patroni
    if found is None or not version(installation):
        return None
    return HostFailover(
        python=found.path.parent / "python",
        launcher=LAUNCHER,
        endpoints=_endpoints(installation),
        in_fleet=installation.settings.address is not None,
        namespace=Keys(installation.settings.etcd.prefix).failover,
        open=sealer.open,
    )
