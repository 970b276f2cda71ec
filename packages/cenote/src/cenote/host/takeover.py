"""Makes the folders around those of the servers ours, at each start, before anything works in them.

Former versions gave a cluster's whole folder to the servers' account.  Nothing moves, and no server notices:
each keeps the folders that it writes into, and passes through the others.
"""

from __future__ import annotations

import logging
import os

from cenote.errors import Misconfigured
from cenote.host import files
from cenote.host.processes import Account
from cenote.model.paths import Layout

log = logging.getLogger(__name__)

PASSED = 0o710  # mode of folders of ours that the servers' account passes through


def take_over(layout: Layout, account: Account) -> None:
    """Make or take over all folders of clusters; one that cannot be is left to the pass over its node.

    Misconfigured when not even the folders above them can be.
    """
    ours = None if account.owner is None else (os.geteuid(), os.getegid())
    try:
        files.make_directory(layout.clusters, files.PASSABLE, ours)
        files.make_directory(layout.sockets, files.PASSABLE, ours)
        files.make_directory(layout.templates, 0o700, ours)
    except OSError as error:
        raise Misconfigured(
            f"the data directory {layout.data_dir} cannot be used: {error.strerror}: {error.filename}"
        ) from error
    if account.owner is None:
        return
    group = account.owner[1]
    for cluster in layout.hosted():
        for folder in (cluster.root, cluster.certificate.parent):
            try:
                if files.ownership_of(folder) is not None:
                    files.set_owner(folder, PASSED, (os.geteuid(), group))
            except OSError as error:
                log.error("%s cannot be taken over: %s", folder, error)
