"""Users of a cluster: the roles that can log in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _operations as op
from .resource import AsyncResource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Unpack

    from .. import types as t


class AsyncUsers(AsyncResource):
    """The operations of ``client.databases`` on users."""

    async def list_users(
        self,
        database_cluster_uuid: str,
        *,
        page: int | None = None,
        per_page: int | None = None,
        **kwargs: Unpack[t.Call],
    ) -> t.UserListResponse:
        """Return the users of a cluster, as ``{"users": [{…}]}``.

        Raises NotFoundError when the cluster is not there.

        ``GET /v2/databases/{database_cluster_uuid}/users``, scope ``database:read``.
        """
        return await self._call(
            op.LIST_USERS, (database_cluster_uuid,), kwargs, query={"page": page, "per_page": per_page}
        )

    async def add_user(
        self, database_cluster_uuid: str, body: t.UserCreate, **kwargs: Unpack[t.Call]
    ) -> t.UserResponse:
        """Create a user, and return it as ``{"user": {…}}`` with the password that was made for it.

        Raises InvalidError for a name that is taken or not allowed.

        ``POST /v2/databases/{database_cluster_uuid}/users``, scope ``database:create``.
        """
        return await self._call(op.ADD_USER, (database_cluster_uuid,), kwargs, body)

    async def get_user(
        self, database_cluster_uuid: str, username: str, **kwargs: Unpack[t.Call]
    ) -> t.UserResponse:
        """Return one user, as ``{"user": {…}}``.

        Raises NotFoundError when the cluster or the user is not there.  The password is left out for a token
        without the scope ``database:view_credentials``.

        ``GET /v2/databases/{database_cluster_uuid}/users/{username}``, scope ``database:read``.
        """
        return await self._call(op.GET_USER, (database_cluster_uuid, username), kwargs)

    async def delete_user(self, database_cluster_uuid: str, username: str, **kwargs: Unpack[t.Call]) -> None:
        """Remove a user.

        Raises NotFoundError when the cluster or the user is not there; the primary user cannot be removed.

        ``DELETE /v2/databases/{database_cluster_uuid}/users/{username}``, scope ``database:delete``.
        """
        return await self._call(op.DELETE_USER, (database_cluster_uuid, username), kwargs)

    async def update_user(
        self, database_cluster_uuid: str, username: str, body: t.UserUpdate, **kwargs: Unpack[t.Call]
    ) -> t.UserResponse:
        """Replace the settings of a user, and return it as ``{"user": {…}}``.

        Raises InvalidError for settings that the engine does not have.

        ``PUT /v2/databases/{database_cluster_uuid}/users/{username}``, scope ``database:update``.
        """
        return await self._call(op.UPDATE_USER, (database_cluster_uuid, username), kwargs, body)

    async def reset_auth(
        self, database_cluster_uuid: str, username: str, body: t.UserResetAuth, **kwargs: Unpack[t.Call]
    ) -> t.UserResponse:
        """Give a user another password, and return the user with it.

        ``body`` may be ``{}``.  Sessions that are open stay.  Raises NotFoundError when the user is not
        there.

        ``POST /v2/databases/{database_cluster_uuid}/users/{username}/reset_auth``, scope ``database:update``.
        """
        return await self._call(op.RESET_AUTH, (database_cluster_uuid, username), kwargs, body)

    def iter_users(
        self, database_cluster_uuid: str, *, per_page: int = 200, **kwargs: Unpack[t.Call]
    ) -> AsyncIterator[t.User]:
        """Go through all users of a cluster, asking for page after page as they are needed.

        Raises, at the first step, what ``list_users`` raises.
        """
        return self._iterate(op.LIST_USERS, (database_cluster_uuid,), kwargs, "users", per_page)
