"""The identity of a host: ``host.json`` in its data directory.

The id is drawn at the first start and stays; nodes, ports and reports name it, so the host may be renamed.
``store`` is the id of the store whose records are carried out here: another store knows nothing of these
clusters, and would have them removed.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from uuid import UUID, uuid4

import msgspec

from cenote.errors import Misconfigured
from cenote.host import files
from cenote.model.fleet_records import ALL_ROLES, HostRole
from cenote.model.paths import Layout

log = logging.getLogger(__name__)

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_STORED_NAME = re.compile(r"[^\s/\x00-\x1f\x7f]{1,253}")  # a kernel's host name may have any characters


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who this host is.  ``store`` is empty until the store has an id."""

    id: UUID
    name: str
    store: UUID | None = None
    roles: tuple[HostRole, ...] = ALL_ROLES

    @property
    def host_id(self) -> str:
        """The id as records and keys give it."""
        return str(self.id)


def read(layout: Layout) -> Identity | None:
    """Return the identity, None before the first start; Misconfigured for a file that is damaged."""
    if not os.path.lexists(layout.identity):
        return None
    content = files.read(layout.identity)
    try:
        if content is None:
            raise ValueError("it is no regular file")
        found = msgspec.json.decode(content, type=Identity)
        if not _STORED_NAME.fullmatch(found.name):
            raise ValueError("its name is no host name")
    except (ValueError, msgspec.DecodeError) as error:
        raise Misconfigured(
            f"{layout.identity} cannot be read: {error}; it says which nodes are this host's: restore it "
            "from a copy, with the same id"
        ) from None
    return found


def has_api(layout: Layout) -> bool:
    """Return whether this host serves an API, or is to be the first one, which does."""
    found = read(layout)
    return found is None or HostRole.API in found.roles


def forget_empty(layout: Layout) -> None:
    """Remove a file without content, which a power failure may leave.

    It is then as lost as one that is missing: the id is found again in the records of the clusters here.
    """
    content = files.read(layout.identity)
    if content is not None and not content.strip(b"\0 \n"):
        log.warning("%s is empty; the host's id is looked for in its records", layout.identity)
        layout.identity.unlink()


def write(layout: Layout, identity: Identity) -> None:
    """Replace the file atomically, and have it on disk; everybody may read it."""
    files.write(layout.identity, msgspec.json.encode(identity) + b"\n", 0o644, None)
    files.sync(layout.identity)


def ensure(
    layout: Layout,
    hosts_of_clusters: Mapping[UUID, Iterable[str]],
    name: str | None,
    id: UUID | None = None,
) -> Identity:
    """Return the identity; at the first start it is made and written.

    ``hosts_of_clusters`` are the host names in records from before hosts had ids, ``name`` the operator's
    choice.  A later choice has no effect here: a new name is claimed in the store first.  ``id`` is the one
    that records have of this host, whose file was lost.
    """
    found = read(layout)
    if found is None:
        name = name or old_name(layout, hosts_of_clusters) or socket.gethostname()
        found = Identity(id=id or uuid4(), name=name)
        write(layout, found)
    return found


def old_name(layout: Layout, hosts_of_clusters: Mapping[UUID, Iterable[str]]) -> str | None:
    """Return the name that records have of this host: that of the clusters whose folders are here.

    The machine may have been renamed since; None when no record has a folder here.
    """
    here = set(files.names(layout.clusters))
    found = Counter(
        host for id, hosts in sorted(hosts_of_clusters.items()) if str(id) in here for host in set(hosts)
    )
    return found.most_common(1)[0][0] if found else None


def directory_of(layout: Layout) -> str:
    """Return what tells this data directory from every copy of it, until the machine is started again."""
    found = layout.data_dir.stat()
    return f"{_BOOT_ID.read_text().strip()}:{found.st_dev}:{found.st_ino}"
