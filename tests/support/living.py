"""Records of clusters without a store."""

from __future__ import annotations

from uuid import UUID

from cenote.model.records import Cluster


class Living:
    """The clusters that there are."""

    def __init__(self, *clusters: Cluster) -> None:
        self._clusters = {cluster.id: cluster for cluster in clusters}

    def living_cluster(self, id: UUID) -> Cluster | None:
        return self._clusters.get(id)

    def living_clusters(self) -> list[Cluster]:
        return list(self._clusters.values())
