"""The host that began a fleet is removed from it, and so is one that runs clusters alone."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from cenote.errors import Unavailable
from cenote.host import identity
from cenote.model.paths import Layout
from cenote.store.etcd_options import name_of
from tests.support.fleet import Fleet, FleetHost, fleet, token_of
from tests.support.service import calling
from tests.support.store_fleet import seats, wait_for_seats
from tests.support.waiting import wait_until


def member_of(host: FleetHost) -> str:
    known = identity.read(Layout(host.data_dir))
    assert known is not None
    return name_of(known.host_id)


@contextlib.contextmanager
def logs_on_failure(hosts: Fleet) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for host in hosts.hosts:
            sys.stderr.write(f"--- {host.name}\n{host.log()[-5000:]}\n")
        raise


def test_the_first_host_leaves_after_another_one_has_its_vote() -> None:
    with fleet(2, joined=True, clusters=2) as hosts, logs_on_failure(hosts):
        first, second = hosts.hosts
        worker = hosts.add(f"--join={token_of(first, '--roles', 'database')}", clusters=2)
        wait_for_seats(first, 1, learners=1)
        _worker_is_removed(second, worker)

        refused = second.run("host", "remove", "host-1", "--yes")
        assert "The etcd of host-1 is the only one that votes" in refused.stderr
        second.cenote("host", "drain", "host-1")
        changed = {member_of(second): True, member_of(first): False}
        wait_until("the other one votes", 60, lambda: known_by(second) == changed)
        wait_until("the first one knows that", 60, lambda: known_by(first) == changed)
        assert "Removed host host-1" in second.run("host", "remove", "host-1", "--yes").stderr
        _first_serves_no_more(first, second)


def known_by(host: FleetHost) -> dict[str, bool]:
    """Return the members and whether they vote; nothing while the store changes hands."""
    try:
        return seats(host)
    except Unavailable:
        return {}


def _worker_is_removed(by: FleetHost, worker: FleetHost) -> None:
    worker.end()
    by.cenote("host", "remove", "host-3", "--yes")
    assert worker.launch().wait(timeout=60) == 1

    def is_told() -> bool:
        """At first its login is still there; its agent is refused by the mark then."""
        assert worker.launch().wait(timeout=60) == 1
        return "it was probably removed from this service" in worker.log()

    assert "removed" in worker.log()
    wait_until("it is told without a login", 60, is_told)
    assert "Traceback" not in worker.log()


def _first_serves_no_more(first: FleetHost, second: FleetHost) -> None:
    with calling(first) as http:
        wait_until("it refuses", 20, lambda: http.get("/v2/databases").status_code == 503)
        said = http.get("/v2/databases").json()["message"]
        assert said == "This host was removed from the service; ask the API of another host."
        assert http.get("/healthz").status_code == 503
    wait_until("the store is the other's", 60, lambda: known_by(second) == {member_of(second): True})
    with calling(second) as http:
        assert http.post("/v2/tags", json={"name": "alone"}).status_code == 201
        assert [host["name"] for host in http.get("/v2/cenote/hosts").json()["hosts"]] == ["host-2"]
