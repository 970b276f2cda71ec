"""Users: add, list, get, update, reset their password, delete."""

from __future__ import annotations

from http import HTTPMethod

import msgspec
from msgspec import UNSET, UnsetType

from cenote import rules
from cenote.api import paging, schema_fields
from cenote.api.auth import CREATE, DELETE, READ, UPDATE
from cenote.api.call import Call, PendingView
from cenote.api.operation import Body, answer, no_content, operation
from cenote.api.views import UserView, user_view
from cenote.errors import NotFound
from cenote.http.routing import Response
from cenote.model.records import Cluster, RemovalKind, User
from cenote.model.status_records import NodeStatus
from cenote.rules import in_force, replicas, sql_changes
from cenote.security import credentials

PATH = "/v2/databases/{database_cluster_uuid}/users"
ONE = PATH + "/{username}"


class UserSettings(Body):
    """Whether the user may replicate; omitted or null, it is unchanged.

    Whoever may replicate can copy the whole server, all databases and password verifiers included, whatever
    it was granted: PostgreSQL allows physical replication to the same users as logical.
    """

    pg_allow_replication: bool | None = None


class UserExtension(Body):
    """An extension of Cenote: ``access`` to other users' tables is ``readonly``, ``readwrite`` or null."""

    access: schema_fields.Preset | UnsetType | None = UNSET


class UpdateUser(Body):
    settings: UserSettings | None = None
    cenote: UserExtension | None = None

    @property
    def may_take_away(self) -> bool:
        """Whether the user may have had more privileges than are requested."""
        replication = None if self.settings is None else self.settings.pg_allow_replication
        return replication is False or (self.cenote is not None and self.cenote.access is not UNSET)

    def change(self, cluster: Cluster, name: str, seen: NodeStatus | None = None) -> Cluster:
        """Return the cluster with the requested change to one of its users."""
        access = UNSET if self.cenote is None else self.cenote.access
        return rules.change_user(
            cluster,
            name,
            allow_replication=None if self.settings is None else self.settings.pg_allow_replication,
            access=rules.access(access) if isinstance(access, str) else None,
            sets_access=access is not UNSET,
            seen=seen,
        )


class CreateUser(UpdateUser, kw_only=True):
    name: schema_fields.UserName


class UserAnswer(msgspec.Struct):
    user: UserView
    cenote: PendingView | UnsetType = UNSET


class UsersAnswer(msgspec.Struct):
    users: list[UserView]
    links: paging.Links
    meta: paging.Meta


@operation(HTTPMethod.GET, PATH, scope=READ, answer=UsersAnswer, paged=True)
async def list_users(request: Call) -> Response:
    """List the users of a cluster, with those that were made by SQL."""
    cluster = request.cluster().value
    found = request.service.by_sql(cluster)
    page, links, meta = paging.page_of(request, sql_changes.users(cluster, found))
    sees = request.caller.sees_credentials
    views = [user_view(request.service, user, found, credentials=sees) for user in page]
    return answer(UsersAnswer(views, links, meta))


@operation(
    HTTPMethod.POST,
    PATH,
    scope=CREATE,
    status=201,
    body=CreateUser,
    answer=UserAnswer,
    also=(412,),
    of_replica=replicas.AT_SOURCE,
)
async def add_user(request: Call) -> Response:
    """Create a user; responds when it can log in.

    A role that SQL made under this name becomes this user, with a new password; one that SQL has dropped is
    created again.
    With `settings.pg_allow_replication` the user can copy the whole server, whatever else it was granted.
    """
    body = await request.decoded(CreateUser)
    request.cluster()  # 404 takes precedence over an invalid user
    user = credentials.new_user(rules.user_name(body.name), request.service.sealer)
    await request.wait_for_name(RemovalKind.USER, user.name)
    report = request.service.report
    changed = await request.change_cluster(
        lambda current: body.change(rules.add_user(current, user, report(current)), user.name)
    )
    return _shown(request, changed.cluster.user(user.name) or user, 201, changed.pending)


@operation(HTTPMethod.GET, ONE, scope=READ, answer=UserAnswer)
async def get_user(request: Call) -> Response:
    """Get a user."""
    return _shown(request, _user(request, request.cluster().value))


@operation(
    HTTPMethod.PUT,
    ONE,
    scope=UPDATE,
    status=201,
    body=UpdateUser,
    answer=UserAnswer,
    of_replica=replicas.AT_SOURCE,
)
async def update_user(request: Call) -> Response:
    """Change the privileges of a user; responds when they are in effect.

    With `settings.pg_allow_replication` the user can copy the whole server, whatever else it was granted.
    """
    user = await _looked_for(request)
    body = await request.decoded(UpdateUser)
    report = request.service.report
    changed = await request.change_cluster(
        lambda current: body.change(current, user.name, report(current)),
        access=in_force.PRIVILEGES if body.may_take_away else (),
    )
    return _shown(request, _user(request, changed.cluster), 201, changed.pending)


@operation(
    HTTPMethod.POST, ONE + "/reset_auth", scope=UPDATE, answer=UserAnswer, of_replica=replicas.AT_SOURCE
)
async def reset_auth(request: Call) -> Response:
    """Reset a user's password; responds when the old one no longer works.

    It opens a login again that SQL has closed (`NOLOGIN`, `VALID UNTIL`, `PASSWORD NULL`).
    """
    before = await _looked_for(request)
    user = credentials.new_user(before.name, request.service.sealer, before.role)
    report = request.service.report
    changed = await request.change_cluster(
        lambda current: rules.change_password(
            current,
            user.name,
            verifier=user.verifier,
            sealed_password=user.sealed_password,
            seen=report(current),
        ),
    )
    return _shown(request, _user(request, changed.cluster), pending=changed.pending)


@operation(HTTPMethod.DELETE, ONE, scope=DELETE, status=204, of_replica=replicas.AT_SOURCE)
async def delete_user(request: Call) -> Response:
    """Delete a user; what it owned goes to a role without any other rights.

    A user of the same name can be created once the server has dropped this one.
    """
    await request.remove_from_cluster(RemovalKind.USER, request.path_params["username"], rules.remove_user)
    return no_content()


async def _looked_for(request: Call) -> User:
    """Return the user in the path, also one that SQL has just made."""
    cluster = request.cluster().value
    await request.service.look_for(cluster, RemovalKind.USER, request.path_params["username"])
    return _user(request, cluster)


def _user(request: Call, cluster: Cluster) -> User:
    user = sql_changes.user(cluster, request.path_params["username"], request.service.by_sql(cluster))
    if user is None:
        raise NotFound
    return user


def _shown(
    request: Call, user: User, status: int = 200, pending: PendingView | UnsetType = UNSET
) -> Response:
    found = request.service.by_sql(request.cluster().value)
    view = user_view(request.service, user, found, credentials=request.caller.sees_credentials)
    return answer(UserAnswer(view, pending), status)


ROUTES = (list_users, add_user, get_user, update_user, reset_auth, delete_user)
