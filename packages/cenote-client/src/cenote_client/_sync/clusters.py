# Generated from _async/clusters.py by tools/unasync.py; edit that file.

"""Clusters: options, lifecycle, size, version and maintenance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _operations as op
from .._poller import Poller, cluster_of
from .._reach import address_of, refusal, unusable
from .._sleep import sleep
from ..errors import WaitTimeoutError
from .resource import Resource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Unpack

    from .. import types as t


class Clusters(Resource):
    """The methods of ``client.databases`` for clusters."""

    def list_options(self, **kwargs: Unpack[t.Call]) -> t.OptionsResponse:
        """Return the regions, versions and sizes on offer by engine, and the end of life of versions.

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
        """Return the clusters of the account as ``{"databases": [{…}]}``.

        ``tag_name`` selects the clusters with that tag.  Returns one page; ``iter_clusters`` returns all.

        ``GET /v2/databases``, scope ``database:read``.
        """
        return self._call(
            op.LIST_CLUSTERS, (), kwargs, query={"tag_name": tag_name, "page": page, "per_page": per_page}
        )

    def create_cluster(self, body: t.ClusterCreate, **kwargs: Unpack[t.Call]) -> t.ClusterResponse:
        """Create a cluster and return it as ``{"database": {…}}``, with its connections and passwords.

        Returns before the cluster is online; ``wait_until_online`` waits for it.  Raises InvalidError for a
        name in use, or a size, version or region that is not on offer.

        With ``backup_restore`` it gets the data of another cluster; BusyError while that has no backup,
        InvalidError, with the moments that can be restored, for another one.

        ``POST /v2/databases``, scope ``database:create``.
        """
        return self._call(op.CREATE_CLUSTER, (), kwargs, body)

    def get_cluster(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> t.ClusterResponse:
        """Return a cluster as ``{"database": {…}}``.

        Raises NotFoundError if the cluster does not exist.  Users and passwords are left out for a token
        without the scope ``database:view_credentials``.

        ``GET /v2/databases/{database_cluster_uuid}``, scope ``database:read``.
        """
        return self._call(op.GET_CLUSTER, (database_cluster_uuid,), kwargs)

    def destroy_cluster(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> None:
        """Delete a cluster with all its data; this cannot be undone.

        Raises NotFoundError if the cluster does not exist, InvalidError if it is protected from deletion
        (``cenote.delete_protection``).

        ``DELETE /v2/databases/{database_cluster_uuid}``, scope ``database:delete``.
        """
        return self._call(op.DESTROY_CLUSTER, (database_cluster_uuid,), kwargs)

    def update_cluster_size(
        self, database_cluster_uuid: str, body: t.ClusterResize, **kwargs: Unpack[t.Call]
    ) -> None:
        """Change the size, the number of nodes or the storage (MiB) of a cluster.

        The status is ``resizing`` until it is done.  Raises BusyError during another change, InvalidError for
        a size that is not on offer or too small for the data.

        ``PUT /v2/databases/{database_cluster_uuid}/resize``, scope ``database:update``.
        """
        return self._call(op.UPDATE_CLUSTER_SIZE, (database_cluster_uuid,), kwargs, body)

    def update_region(
        self, database_cluster_uuid: str, body: t.RegionUpdate, **kwargs: Unpack[t.Call]
    ) -> None:
        """Move a cluster to another region; its status is ``migrating`` until it is done.

        Raises InvalidError for a region that is not on offer, BusyError during another change.

        ``PUT /v2/databases/{database_cluster_uuid}/migrate``, scope ``database:update``.
        """
        return self._call(op.UPDATE_REGION, (database_cluster_uuid,), kwargs, body)

    def move_cluster(
        self, database_cluster_uuid: str, body: t.MoveWish | None = None, **kwargs: Unpack[t.Call]
    ) -> t.MoveResponse:
        """Begin to move a cluster to another host, and return ``{"move": {…}}``; clients stay connected.

        ``cenote.move`` of the cluster is there until it is over.  Raises InvalidError for a host that cannot
        take it, BusyError while none can or during another change.

        ``POST /v2/databases/{database_cluster_uuid}/move``, scope ``cenote:admin``.
        """
        wish: t.MoveWish = {} if body is None else body
        return self._call(op.MOVE_CLUSTER, (database_cluster_uuid,), kwargs, wish)

    def cancel_move(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> None:
        """Cancel the move of a cluster to another host.

        Raises BusyError once the new host has taken over, InvalidError if the cluster is not being moved.

        ``DELETE /v2/databases/{database_cluster_uuid}/move``, scope ``cenote:admin``.
        """
        return self._call(op.CANCEL_MOVE, (database_cluster_uuid,), kwargs)

    def get_recovery(
        self,
        database_cluster_uuid: str,
        host: str | None = None,
        zone: str | None = None,
        num_nodes: int | None = None,
        **kwargs: Unpack[t.Call],
    ) -> t.RecoveryResponse:
        """Return from what and where a cluster would be recovered, as ``{"recovery": {…}}``.

        Raises BusyError where it cannot be now, such as while its host is up, InvalidError for a host that
        cannot take it.

        ``GET /v2/databases/{database_cluster_uuid}/recover``, scope ``cenote:admin``.
        """
        query = {"host": host, "zone": zone, "num_nodes": num_nodes}
        return self._call(op.GET_RECOVERY, (database_cluster_uuid,), kwargs, query=query)

    def recover_cluster(
        self, database_cluster_uuid: str, body: t.RecoveryWish | None = None, **kwargs: Unpack[t.Call]
    ) -> t.RecoveryResponse:
        """Begin to recover a cluster whose host is lost from its backups, and return ``{"recovery": {…}}``.

        What was committed after ``archived_at`` is missing.  Raises the errors of ``get_recovery``.

        ``POST /v2/databases/{database_cluster_uuid}/recover``, scope ``cenote:admin``.
        """
        wish: t.RecoveryWish = {} if body is None else body
        return self._call(op.RECOVER_CLUSTER, (database_cluster_uuid,), kwargs, wish)

    def switch_over(
        self, database_cluster_uuid: str, body: t.SwitchWish | None = None, **kwargs: Unpack[t.Call]
    ) -> t.SwitchResponse:
        """Have another node of a cluster take writes; return ``{"primary": …}``, with its name.

        ``switchover`` is in it while the switch is under way.  Raises InvalidError for a node that cannot be
        meant, BusyError while none can take over or during another switch.

        ``POST /v2/databases/{database_cluster_uuid}/switchover``, scope ``database:update``.
        """
        wish: t.SwitchWish = {} if body is None else body
        return self._call(op.SWITCH_OVER, (database_cluster_uuid,), kwargs, wish)

    def cancel_switch(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> None:
        """Give up a switch to another node that waits.

        Raises InvalidError if no switch is under way.

        ``DELETE /v2/databases/{database_cluster_uuid}/switchover``, scope ``database:update``.
        """
        return self._call(op.CANCEL_SWITCH, (database_cluster_uuid,), kwargs)

    def update_delete_protection(
        self, database_cluster_uuid: str, body: t.DeleteProtection, **kwargs: Unpack[t.Call]
    ) -> None:
        """Protect a cluster from deletion, or no longer; while it is, destroy_cluster raises InvalidError.

        Raises NotFoundError if the cluster does not exist.

        ``PUT /v2/databases/{database_cluster_uuid}/delete_protection``, scope ``database:update``.
        """
        return self._call(op.UPDATE_DELETE_PROTECTION, (database_cluster_uuid,), kwargs, body)

    def update_undelete_days(
        self, database_cluster_uuid: str, body: t.UndeleteDays, **kwargs: Unpack[t.Call]
    ) -> None:
        """Set for how many days a cluster can be undeleted once it is deleted.

        Raises NotFoundError if the cluster does not exist.

        ``PUT /v2/databases/{database_cluster_uuid}/undelete_days``, scope ``database:update``.
        """
        return self._call(op.UPDATE_UNDELETE_DAYS, (database_cluster_uuid,), kwargs, body)

    def update_major_version(
        self, database_cluster_uuid: str, body: t.VersionUpdate, **kwargs: Unpack[t.Call]
    ) -> None:
        """Upgrade a cluster to a later major version of its engine.

        Raises InvalidError for a version that is not on offer or not later, BusyError during another change.

        ``PUT /v2/databases/{database_cluster_uuid}/upgrade``, scope ``database:update``.
        """
        return self._call(op.UPDATE_MAJOR_VERSION, (database_cluster_uuid,), kwargs, body)

    def rehearse_upgrade(
        self, database_cluster_uuid: str, body: t.VersionUpdate, **kwargs: Unpack[t.Call]
    ) -> t.RehearsalResponse:
        """Rehearse an upgrade to a later major version on a fork; return ``{"rehearsal": {…}}``.

        ``get_cluster`` has how far it is and its result, at ``cenote.rehearsal``.  Raises InvalidError for a
        version that is not on offer or for what is in the way, BusyError during another rehearsal or change.

        ``POST /v2/databases/{database_cluster_uuid}/upgrade/rehearsal``, scopes ``database:update`` and
        ``database:create``.
        """
        return self._call(op.REHEARSE_UPGRADE, (database_cluster_uuid,), kwargs, body)

    def install_update(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> None:
        """Start the pending maintenance now instead of in the maintenance window.

        Raises NotFoundError if the cluster does not exist.

        ``PUT /v2/databases/{database_cluster_uuid}/install_update``, scope ``database:update``.
        """
        return self._call(op.INSTALL_UPDATE, (database_cluster_uuid,), kwargs)

    def update_maintenance_window(
        self, database_cluster_uuid: str, body: t.MaintenanceWindowUpdate, **kwargs: Unpack[t.Call]
    ) -> None:
        """Set the weekday and the hour (UTC) at which maintenance may start.

        Raises InvalidError for an invalid day or hour.

        ``PUT /v2/databases/{database_cluster_uuid}/maintenance``, scope ``database:update``.
        """
        return self._call(op.UPDATE_MAINTENANCE_WINDOW, (database_cluster_uuid,), kwargs, body)

    def get_ca(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> t.CAResponse:
        """Return the CA certificate as ``{"ca": {"certificate": …}}``: a PEM, encoded in base64.

        Raises NotFoundError if the cluster does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/ca``, scope ``database:read``.
        """
        return self._call(op.GET_CA, (database_cluster_uuid,), kwargs)

    def iter_clusters(
        self, *, tag_name: str | None = None, per_page: int = 200, **kwargs: Unpack[t.Call]
    ) -> Iterator[t.Cluster]:
        """Iterate over all clusters of the account; each page is requested when it is needed.

        Iterating raises the errors of ``list_clusters``.
        """
        return self._iterate(op.LIST_CLUSTERS, (), kwargs, "databases", per_page, tag_name=tag_name)

    def wait_until_online(
        self,
        database_cluster_uuid: str,
        *,
        timeout: float = 1800.0,
        progress: t.Progress | None = None,
    ) -> t.Cluster:
        """Poll a cluster until its status is ``online``; return it, without ``{"database": …}``.

        One of a Cenote service must be usable, too: neither ``starting`` nor ``down``, and its port, to which
        this connects once, answers unless a firewall is between.  ``progress`` is called after each poll that
        finds the cluster otherwise, with it and the elapsed seconds.  Raises WaitTimeoutError after
        ``timeout`` seconds (its ``last`` is the cluster as last polled), NotFoundError if the cluster does
        not exist or is deleted meanwhile.
        """
        poller = Poller(timeout)
        while True:
            response = self._fetch(op.GET_CLUSTER, (database_cluster_uuid,), {})
            cluster = cluster_of(response)
            state: str = cluster["status"]
            if state == "online":
                reason = unusable(cluster)
                if not reason and (address := address_of(cluster)) is not None:
                    reason = refusal(*address)
                if not reason:
                    return cluster
                state = f"online, but cannot be used ({reason})"
            if progress is not None:
                progress(cluster, poller.elapsed)
            pause = poller.pause()
            if pause is None:
                spent = f"{poller.elapsed:.0f} s"
                raise WaitTimeoutError(f"cluster {database_cluster_uuid} is {state} after {spent}", cluster)
            sleep(pause)
