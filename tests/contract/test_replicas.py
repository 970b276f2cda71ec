"""The official pydo adds a read replica and promotes it while it is being made, as its own test does."""

from __future__ import annotations

from tests.contract.test_official_pydo import played
from tests.support.service import service


def test_the_official_pydo_adds_a_replica_and_promotes_it_at_once() -> None:
    with service() as running:
        for nodes in (1, 2):
            told = played("replicas.py", running, NODES=str(nodes))
            replica, cluster = told["created"]["replica"], told["cluster"]
            assert [one["name"] for one in told["listed"]["replicas"]] == ["read-nyc3-01"]
            assert told["removed"] is None
            assert told["promoted"] is None
            assert told["deleted"] is None
            assert cluster["id"] == replica["id"]
            assert cluster["connection"] == replica["connection"]
            assert told["left"] == ["read-nyc3-01"]
