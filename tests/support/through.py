"""A service as the contract tests want one: alone, or a host of a fleet through whose API they run.

``CENOTE_TEST_API=2`` makes it the second of three hosts that have joined one another.  The first cluster then
lies on the first host, the next ones on the others, whichever host's API makes them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from tests.support.fleet import fleet
from tests.support.service import CLUSTERS, Service
from tests.support.service import service as alone

HOSTS = 3
NUMBER = int(os.environ.get("CENOTE_TEST_API") or 0)


@contextlib.contextmanager
def service(*options: str, clusters: int = CLUSTERS, number: int = NUMBER) -> Iterator[Service]:
    """``number``: that of the host; 0 for a service that stands alone.

    ``clusters``: how many there are ports for, on all hosts together.
    """
    assert 0 <= number <= HOSTS, f"CENOTE_TEST_API={number}: there are {HOSTS} hosts"
    if not number:
        with alone(*options, clusters=clusters) as running:
            yield running
        return
    with fleet(HOSTS, *options, clusters=-(-clusters // HOSTS), joined=True, limits=()) as hosts:
        yield hosts.hosts[number - 1]
