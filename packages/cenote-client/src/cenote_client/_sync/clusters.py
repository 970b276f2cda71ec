# Made from _async/clusters.py by tools/unasync.py; change that one.

"""Clusters: what can be had, making, looking, changing, removing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _operations as op
from .._poller import Poller, cluster_of
from .._sleep import sleep
from ..errors import WaitTimeoutError
from .resource import Resource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Unpack

    from .. import types as t


class Clusters(Resource):
    """The operations of ``client.databases`` on clusters."""

    def list_options(self, **kwargs: Unpack[t.Call]) -> t.OptionsResponse:
        """Return what a cluster can be made of: regions, versions and sizes by engine, and when versions end.

        ``GET /v2/databases/options``, scope ``database:read``.
        """
        return self._call(op.LIST_OPTIONS, (), kwargs)

    def list_clusters(
        self,
        *,
        tag_name: str | None = None,
        page: int | None = None,
        per_page: int | None = None,
        **kwargs: Unpack[t.Call],
    ) -> t.ClusterListResponse:
        """Return the clusters of the account, as ``{"databases": [{…}]}``.

        ``tag_name`` keeps those with that tag.  One page comes back; ``iter_clusters`` goes through all.

        ``GET /v2/databases``, scope ``database:read``.
        """
        return self._call(
            op.LIST_CLUSTERS, (), kwargs, query={"tag_name": tag_name, "page": page, "per_page": per_page}
        )

    def create_cluster(self, body: t.ClusterCreate, **kwargs: Unpack[t.Call]) -> t.ClusterResponse:
        """Create a cluster, and return it as ``{"database": {…}}`` with its connections and their passwords.

        It comes back while it is being made; ``wait_until_online`` waits for it.  Raises InvalidError for a
        name that is taken, or a size, version or region that is not offered.

        ``POST /v2/databases``, scope ``database:create``.
        """
        return self._call(op.CREATE_CLUSTER, (), kwargs, body)

    def get_cluster(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> t.ClusterResponse:
        """Return one cluster, as ``{"database": {…}}``.

        Raises NotFoundError when it is not there.  Users and passwords are left out for a token without the
        scope ``database:view_credentials``.

        ``GET /v2/databases/{database_cluster_uuid}``, scope ``database:read``.
        """
        return self._call(op.GET_CLUSTER, (database_cluster_uuid,), kwargs)

    def destroy_cluster(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> None:
        """Remove a cluster with all its data, which cannot be undone.

        Raises NotFoundError when it is not there.

        ``DELETE /v2/databases/{database_cluster_uuid}``, scope ``database:delete``.
        """
        return self._call(op.DESTROY_CLUSTER, (database_cluster_uuid,), kwargs)

    def update_cluster_size(
        self, database_cluster_uuid: str, body: t.ClusterResize, **kwargs: Unpack[t.Call]
    ) -> None:
        """Give a cluster another size, number of nodes, or disk.

        It is done while the cluster has the status ``resizing``.  Raises BusyError during another change,
        InvalidError for a size that is not offered or too small for the data.

        ``PUT /v2/databases/{database_cluster_uuid}/resize``, scope ``database:update``.
        """
        return self._call(op.UPDATE_CLUSTER_SIZE, (database_cluster_uuid,), kwargs, body)

    def update_region(
        self, database_cluster_uuid: str, body: t.RegionUpdate, **kwargs: Unpack[t.Call]
    ) -> None:
        """Move a cluster to another region, while its status is ``migrating``.

        Raises InvalidError for a region that is not offered, BusyError during another change.

        ``PUT /v2/databases/{database_cluster_uuid}/migrate``, scope ``database:update``.
        """
        return self._call(op.UPDATE_REGION, (database_cluster_uuid,), kwargs, body)

    def update_major_version(
        self, database_cluster_uuid: str, body: t.VersionUpdate, **kwargs: Unpack[t.Call]
    ) -> None:
        """Upgrade a cluster to a later major version of its engine.

        Raises InvalidError for a version that is not offered or not later, BusyError during another change.

        ``PUT /v2/databases/{database_cluster_uuid}/upgrade``, scope ``database:update``.
        """
        return self._call(op.UPDATE_MAJOR_VERSION, (database_cluster_uuid,), kwargs, body)

    def install_update(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> None:
        """Start the pending maintenance now, instead of in the maintenance window.

        Raises NotFoundError when the cluster is not there.

        ``PUT /v2/databases/{database_cluster_uuid}/install_update``, scope ``database:update``.
        """
        return self._call(op.INSTALL_UPDATE, (database_cluster_uuid,), kwargs)

    def update_maintenance_window(
        self, database_cluster_uuid: str, body: t.MaintenanceWindowUpdate, **kwargs: Unpack[t.Call]
    ) -> None:
        """Choose the day and the hour (UTC) at which maintenance may begin.

        Raises InvalidError for a day or an hour that is none.

        ``PUT /v2/databases/{database_cluster_uuid}/maintenance``, scope ``database:update``.
        """
        return self._call(op.UPDATE_MAINTENANCE_WINDOW, (database_cluster_uuid,), kwargs, body)

    def get_ca(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> t.CAResponse:
        """Return the certificate to trust, as ``{"ca": {"certificate": …}}``, which is the base64 of its PEM.

        Raises NotFoundError when the cluster is not there.

        ``GET /v2/databases/{database_cluster_uuid}/ca``, scope ``database:read``.
        """
        return self._call(op.GET_CA, (database_cluster_uuid,), kwargs)

    def iter_clusters(
        self, *, tag_name: str | None = None, per_page: int = 200, **kwargs: Unpack[t.Call]
    ) -> Iterator[t.Cluster]:
        """Go through all clusters of the account, asking for page after page as they are needed.

        Raises, at the first step, what ``list_clusters`` raises.
        """
        return self._iterate(op.LIST_CLUSTERS, (), kwargs, "databases", per_page, tag_name=tag_name)

    def wait_until_online(
        self,
        database_cluster_uuid: str,
        *,
        timeout: float = 1800.0,
        progress: t.Progress | None = None,
    ) -> t.Cluster:
        """Look at a cluster until its status is ``online``, and return it (what is within ``{"database":
        …}``).

        ``progress`` is called after each look that finds it otherwise, with the cluster and the seconds
        spent.  Raises WaitTimeoutError when ``timeout`` seconds are over (its ``last`` is the cluster as last
        seen), and NotFoundError when the cluster is not there, or no longer.
        """
        poller = Poller(timeout)
        while True:
            answer = self._fetch(op.GET_CLUSTER, (database_cluster_uuid,), {})
            cluster = cluster_of(answer)
            if cluster["status"] == "online":
                return cluster
            if progress is not None:
                progress(cluster, poller.elapsed)
            pause = poller.pause()
            if pause is None:
                spent = f"{poller.elapsed:.0f} s"
                raise WaitTimeoutError(
                    f"cluster {database_cluster_uuid} is {cluster['status']} after {spent}", cluster
                )
            sleep(pause)
