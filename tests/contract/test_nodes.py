"""The official pydo makes a cluster of two nodes and replicas; its URIs lead to the primary or others."""

from __future__ import annotations

from tests.contract.test_official_pydo import played
from tests.support.service import answer_of, service

RECOVERING = "SELECT pg_is_in_recovery()"


def test_the_official_pydo_makes_a_cluster_of_two_nodes() -> None:
    with service() as running:
        told = played("two_nodes.py", running)
        made, cluster, pool = told["created"]["database"], told["cluster"], told["pool"]
        assert (made["status"], cluster["num_nodes"]) == ("creating", 2)
        assert cluster["connection"] == made["connection"]
        for found in (cluster, pool):
            assert answer_of(found["connection"]["uri"], RECOVERING) is False
            assert answer_of(found["standby_connection"]["uri"], RECOVERING) is True
            assert found["standby_private_connection"]["port"] == found["standby_connection"]["port"]
        replica, promoted = told["online replica"], told["promoted"]
        assert told["replica"]["status"] in ("creating", "forking")
        assert (told["replica"]["region"], told["replica"]["tags"]) == ("fra1", ["reads"])
        assert "reads" in told["replicas"]
        for uri in (replica["connection"]["uri"], told["replica's pool"]["connection"]["uri"]):
            assert answer_of(uri, RECOVERING) is True
        assert replica["private_connection"]["port"] == replica["connection"]["port"]
        assert promoted["id"] == told["replica"]["id"]
        assert promoted["connection"] == told["replica"]["connection"]
        assert answer_of(promoted["connection"]["uri"], RECOVERING) is False
