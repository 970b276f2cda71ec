# Generated from _async/users.py by tools/unasync.py; edit that file.

"""Users of a cluster: the roles that can log in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _operations as op
from .resource import Resource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Unpack

    from .. import types as t


class Users(Resource):
    """The methods of ``client.databases`` for users."""

    def list_users(
        self,
        database_cluster_uuid: str,
        *,
        page: int | None = None,
        per_page: int | None = None,
        **kwargs: Unpack[t.Call],
    ) -> t.UserListResponse:
        """Return the users of a cluster as ``{"users": [{…}]}``.

        Raises NotFoundError if the cluster does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/users``, scope ``database:read``.
        """
        return self._call(
            op.LIST_USERS, (database_cluster_uuid,), kwargs, query={"page": page, "per_page": per_page}
        )

    def add_user(
        self, database_cluster_uuid: str, body: t.UserCreate, **kwargs: Unpack[t.Call]
    ) -> t.UserResponse:
        """Create a user and return it as ``{"user": {…}}``, with its generated password.

        Raises InvalidError for a name that is in use or not allowed.

        ``POST /v2/databases/{database_cluster_uuid}/users``, scope ``database:create``.
        """
        return self._call(op.ADD_USER, (database_cluster_uuid,), kwargs, body)

    def get_user(self, database_cluster_uuid: str, username: str, **kwargs: Unpack[t.Call]) -> t.UserResponse:
        """Return a user as ``{"user": {…}}``.

        Raises NotFoundError if the cluster or the user does not exist.  The password is left out for a token
        without the scope ``database:view_credentials``.

        ``GET /v2/databases/{database_cluster_uuid}/users/{username}``, scope ``database:read``.
        """
        return self._call(op.GET_USER, (database_cluster_uuid, username), kwargs)

    def delete_user(self, database_cluster_uuid: str, username: str, **kwargs: Unpack[t.Call]) -> None:
        """Delete a user.

        Raises NotFoundError if the cluster or the user does not exist, InvalidError for the primary user.

        ``DELETE /v2/databases/{database_cluster_uuid}/users/{username}``, scope ``database:delete``.
        """
        return self._call(op.DELETE_USER, (database_cluster_uuid, username), kwargs)

    def update_user(
        self, database_cluster_uuid: str, username: str, body: t.UserUpdate, **kwargs: Unpack[t.Call]
    ) -> t.UserResponse:
        """Replace the settings of a user and return the user as ``{"user": {…}}``.

        Raises InvalidError for settings that the engine does not support.

        ``PUT /v2/databases/{database_cluster_uuid}/users/{username}``, scope ``database:update``.
        """
        return self._call(op.UPDATE_USER, (database_cluster_uuid, username), kwargs, body)

    def reset_auth(
        self, database_cluster_uuid: str, username: str, body: t.UserResetAuth, **kwargs: Unpack[t.Call]
    ) -> t.UserResponse:
        """Reset the password of a user and return the user as ``{"user": {…}}``, with the new password.

        ``body`` may be ``{}``.  Open sessions are not closed.  Raises NotFoundError if the cluster or the
        user does not exist.

        ``POST /v2/databases/{database_cluster_uuid}/users/{username}/reset_auth``, scope ``database:update``.
        """
        return self._call(op.RESET_AUTH, (database_cluster_uuid, username), kwargs, body)

    def iter_users(
        self, database_cluster_uuid: str, *, per_page: int = 200, **kwargs: Unpack[t.Call]
    ) -> Iterator[t.User]:
        """Iterate over all users of a cluster; each page is requested when it is needed.

        Iterating raises the errors of ``list_users``.
        """
        return self._iterate(op.LIST_USERS, (database_cluster_uuid,), kwargs, "users", per_page)
