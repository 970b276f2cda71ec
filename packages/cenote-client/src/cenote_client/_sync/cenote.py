# Generated from _async/cenote.py by tools/unasync.py; edit that file.

"""Operations of a Cenote service beyond the reference: audit log, tokens, hosts, activity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _operations as op
from .resource import Resource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Literal, Unpack

    from .. import types as t


class Cenote(Resource):
    """The methods of ``client.cenote``; most need the scope ``cenote:admin``."""

    def list_audit(
        self,
        *,
        cluster_uuid: str | None = None,
        token: str | None = None,
        search: str | None = None,
        page: int | None = None,
        per_page: int | None = None,
        **kwargs: Unpack[t.Call],
    ) -> t.AuditResponse:
        """Return the audit log, newest first, as ``{"entries": [{…}]}``: changes and rejected calls.

        ``cluster_uuid`` selects one cluster, which may be deleted already, ``token`` the entries of one
        token by its name or id, and ``search`` those that contain a text.  Raises ForbiddenError if the
        token of the call lacks the scope.

        ``GET /v2/cenote/audit``, scope ``cenote:admin``.
        """
        query = {
            "cluster_uuid": cluster_uuid,
            "token": token,
            "search": search,
            "page": page,
            "per_page": per_page,
        }
        return self._call(op.LIST_AUDIT, (), kwargs, query=query)

    def iter_audit(
        self,
        *,
        cluster_uuid: str | None = None,
        token: str | None = None,
        search: str | None = None,
        per_page: int = 200,
        **kwargs: Unpack[t.Call],
    ) -> Iterator[t.AuditEntry]:
        """Iterate over the whole audit log, newest first; each page is requested when it is needed.

        The filters and the errors are those of ``list_audit``.
        """
        query = {"cluster_uuid": cluster_uuid, "token": token, "search": search}
        return self._iterate(op.LIST_AUDIT, (), kwargs, "entries", per_page, **query)

    def list_tokens(self, **kwargs: Unpack[t.Call]) -> t.TokenListResponse:
        """Return all tokens, oldest first and without their secrets, as ``{"tokens": [{…}]}``.

        ``GET /v2/cenote/tokens``, scope ``cenote:admin``.
        """
        return self._call(op.LIST_TOKENS, (), kwargs)

    def create_token(self, body: t.TokenCreate, **kwargs: Unpack[t.Call]) -> t.TokenResponse:
        """Create a token and return it as ``{"token": {…}}``; only this response contains the secret.

        Raises InvalidError for an unknown scope or an expiry in the past.

        ``POST /v2/cenote/tokens``, scope ``cenote:admin``.
        """
        return self._call(op.CREATE_TOKEN, (), kwargs, body)

    def revoke_token(self, token_id: str, **kwargs: Unpack[t.Call]) -> None:
        """Revoke a token; calls with it fail from then on.

        Raises NotFoundError if no token has this id.

        ``DELETE /v2/cenote/tokens/{token_id}``, scope ``cenote:admin``.
        """
        return self._call(op.REVOKE_TOKEN, (token_id,), kwargs)

    def get_own_token(self, **kwargs: Unpack[t.Call]) -> t.TokenResponse:
        """Return the token of this client, without its secret, as ``{"token": {…}}``.

        ``GET /v2/cenote/token``, no scope needed.
        """
        return self._call(op.GET_OWN_TOKEN, (), kwargs)

    def list_deleted_clusters(
        self, page: int | None = None, per_page: int | None = None, **kwargs: Unpack[t.Call]
    ) -> t.DeletedClusterListResponse:
        """Return the deleted clusters that can be undeleted, the last first, as ``{"deleted": [{…}]}``.

        ``GET /v2/cenote/deleted``, scope ``database:read``.
        """
        return self._call(op.LIST_DELETED_CLUSTERS, (), kwargs, query={"page": page, "per_page": per_page})

    def undelete_cluster(
        self, deleted_cluster_uuid: str, body: t.UndeleteWish | None = None, **kwargs: Unpack[t.Call]
    ) -> t.UndeletedClusterResponse:
        """Bring a deleted cluster back, and return ``{"database": {…}, "changed": […]}``.

        ``changed`` says in words what is not as it was, such as a port.  Raises InvalidError while another
        cluster has its name and ``body`` has no new one, NotFoundError if it cannot be undeleted any more,
        ConflictError if its data is gone, BusyError while its host has no room.

        ``POST /v2/cenote/deleted/{deleted_cluster_uuid}/undelete``, scope ``database:create``.
        """
        wish: t.UndeleteWish = {} if body is None else body
        return self._call(op.UNDELETE_CLUSTER, (deleted_cluster_uuid,), kwargs, wish)

    def purge_cluster(self, deleted_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> None:
        """Remove a deleted cluster with its data for good.

        Raises NotFoundError if it is not there any more.

        ``DELETE /v2/cenote/deleted/{deleted_cluster_uuid}``, scope ``database:delete``.
        """
        return self._call(op.PURGE_CLUSTER, (deleted_cluster_uuid,), kwargs)

    def list_hosts(self, **kwargs: Unpack[t.Call]) -> t.HostListResponse:
        """Return the hosts with their states and their allocated MiB, as ``{"hosts": [{…}]}``.

        ``GET /v2/cenote/hosts``, scope ``cenote:admin``.
        """
        return self._call(op.LIST_HOSTS, (), kwargs)

    def drain_host(self, host_id: str, **kwargs: Unpack[t.Call]) -> t.HostResponse:
        """Begin to move all clusters off a host, and place none on it; return it as ``{"host": {…}}``.

        Raises NotFoundError if no host has this id.

        ``POST /v2/cenote/hosts/{host_id}/drain``, scope ``cenote:admin``.
        """
        return self._call(op.DRAIN_HOST, (host_id,), kwargs)

    def undrain_host(self, host_id: str, **kwargs: Unpack[t.Call]) -> t.HostResponse:
        """Have a host take clusters again; return it as ``{"host": {…}}``.

        Raises NotFoundError if no host has this id.

        ``DELETE /v2/cenote/hosts/{host_id}/drain``, scope ``cenote:admin``.
        """
        return self._call(op.UNDRAIN_HOST, (host_id,), kwargs)

    def remove_host(self, host_id: str, *, lost: bool = False, **kwargs: Unpack[t.Call]) -> None:
        """Remove a host on which nothing is left; with ``lost`` one that is down, with its clusters' data.

        Raises BusyError while something is on the host or, for one that is lost, while it is not down;
        NotFoundError if no host has this id.

        ``DELETE /v2/cenote/hosts/{host_id}``, scope ``cenote:admin``.
        """
        query = {"lost": "true"} if lost else {}
        return self._call(op.REMOVE_HOST, (host_id,), kwargs, query=query)

    def list_host_tokens(self, **kwargs: Unpack[t.Call]) -> t.HostTokenListResponse:
        """Return the tokens with which hosts may join, without their secrets, as ``{"host_tokens": [{…}]}``.

        ``reached_at`` beside them is where a host asks to join; None if none can.

        ``GET /v2/cenote/hosts/tokens``, scope ``cenote:admin``.
        """
        return self._call(op.LIST_HOST_TOKENS, (), kwargs)

    def create_host_token(
        self, body: t.HostTokenCreate | None = None, **kwargs: Unpack[t.Call]
    ) -> t.HostTokenResponse:
        """Create a token with which one host may join and return it as ``{"host_token": {…}}``.

        Only this response contains the secret, and the command to type on the new host.  Raises
        ConflictError if the service runs without ``--address``, InvalidError for an unknown role or an
        expiry that is over or more than 7 days away.

        ``POST /v2/cenote/hosts/tokens``, scope ``cenote:admin``.
        """
        return self._call(op.CREATE_HOST_TOKEN, (), kwargs, body or {})

    def revoke_host_token(self, host_token_id: str, **kwargs: Unpack[t.Call]) -> None:
        """Revoke a token with which a host may join; hosts that have joined stay.

        Raises NotFoundError if no token has this id, or it was used.

        ``DELETE /v2/cenote/hosts/tokens/{host_token_id}``, scope ``cenote:admin``.
        """
        return self._call(op.REVOKE_HOST_TOKEN, (host_token_id,), kwargs)

    def list_keys(self, **kwargs: Unpack[t.Call]) -> t.SealingKeyListResponse:
        """Return the sealing keys of both rings, the newest first, and the latest rotation.

        ``GET /v2/cenote/keys``, scope ``cenote:admin``.
        """
        return self._call(op.LIST_KEYS, (), kwargs)

    def rotate_keys(
        self, ring: Literal["api", "host"] = "api", **kwargs: Unpack[t.Call]
    ) -> t.KeyRotationResponse:
        """Begin to rotate the sealing keys of a ring; ``list_keys`` tells how far it is.

        Ring ``api`` seals passwords and private keys, ``host`` the configurations of log sinks.
        Raises BusyError while a rotation is running, or while other hosts use the store.

        ``POST /v2/cenote/keys/rotate``, scope ``cenote:admin``.
        """
        return self._call(op.ROTATE_KEYS, (), kwargs, query={"ring": ring})

    def list_activity(self, cluster_uuids: Sequence[str], **kwargs: Unpack[t.Call]) -> t.ActivityResponse:
        """Return the current activity in the pools of up to 100 clusters, as ``{"activity": [{…}]}``.

        Clusters that do not exist are left out.  Raises InvalidError for more than 100.

        ``GET /v2/cenote/activity``, scope ``database:read``.
        """
        return self._call(op.LIST_ACTIVITY, (), kwargs, query={"cluster_uuids": ",".join(cluster_uuids)})
