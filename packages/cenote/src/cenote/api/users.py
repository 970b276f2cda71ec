"""Users: add, list, get, update, reset their password, delete."""

from __future__ import annotations

import msgspec
from litestar import HttpMethod
from litestar.response.base import ASGIResponse

from cenote import rules
from cenote.api import credentials, paging
from cenote.api.auth import CREATE, DELETE, READ, UPDATE
from cenote.api.service import Body, Call, answer, no_content, operation
from cenote.api.views import UserView, user_view
from cenote.domain import Cluster, User
from cenote.errors import Invalid, NotFound

PATH = "/v2/databases/{database_cluster_uuid:str}/users"
ONE = PATH + "/{username:str}"


class UserSettings(Body):
    """What may be set of a user; replication is not supported by this version."""

    pg_allow_replication: bool | None = None

    def refuse_what_is_missing(self) -> None:
        if self.pg_allow_replication:
            raise Invalid("settings: pg_allow_replication is not supported by this version.")


class CreateUser(Body):
    name: str
    settings: UserSettings | None = None


class UpdateUser(Body):
    settings: UserSettings | None = None


class UserAnswer(msgspec.Struct):
    user: UserView


class UsersAnswer(msgspec.Struct):
    users: list[UserView]
    links: paging.Links
    meta: paging.Meta


@operation(HttpMethod.GET, PATH, scope=READ, answer=UsersAnswer, paged=True)
async def list_users(request: Call) -> ASGIResponse:
    """List the users of a cluster."""
    page, links, meta = paging.page_of(request, request.cluster().value.users)
    sees = request.caller.sees_credentials
    views = [user_view(request.service, user, credentials=sees) for user in page]
    return answer(UsersAnswer(views, links, meta))


@operation(HttpMethod.POST, PATH, scope=CREATE, status=201, body=CreateUser, answer=UserAnswer)
async def add_user(request: Call) -> ASGIResponse:
    """Add a user to a cluster; answered when it can log in."""
    wanted = await request.decoded(CreateUser)
    cluster = request.cluster().value
    if wanted.settings is not None:
        wanted.settings.refuse_what_is_missing()
    user = credentials.new_user(rules.user_name(wanted.name), request.service.sealer)
    stored = await request.service.store.update_cluster(
        cluster.id, lambda current: rules.add_user(current, user)
    )
    await request.service.settled(stored)
    return _shown(request, user, 201)


@operation(HttpMethod.GET, ONE, scope=READ, answer=UserAnswer)
async def get_user(request: Call) -> ASGIResponse:
    """Get a user."""
    return _shown(request, _user(request, request.cluster().value))


@operation(HttpMethod.PUT, ONE, scope=UPDATE, status=201, body=UpdateUser, answer=UserAnswer)
async def update_user(request: Call) -> ASGIResponse:
    """Change the settings of a user."""
    user = _user(request, request.cluster().value)
    wanted = await request.decoded(UpdateUser)
    if wanted.settings is not None:
        wanted.settings.refuse_what_is_missing()
    return _shown(request, user, 201)


@operation(HttpMethod.POST, ONE + "/reset_auth", scope=UPDATE, answer=UserAnswer)
async def reset_auth(request: Call) -> ASGIResponse:
    """Give a user a new password; answered when the old one no longer works."""
    cluster = request.cluster().value
    before = _user(request, cluster)
    user = credentials.new_user(before.name, request.service.sealer, before.role)
    stored = await request.service.store.update_cluster(
        cluster.id,
        lambda current: rules.change_password(
            current, user.name, verifier=user.verifier, sealed_password=user.sealed_password
        ),
    )
    await request.service.settled(stored)
    return _shown(request, user)


@operation(HttpMethod.DELETE, ONE, scope=DELETE, status=204)
async def delete_user(request: Call) -> ASGIResponse:
    """Delete a user."""
    name = request.path_params["username"]
    stored = await request.service.store.update_cluster(
        request.cluster().value.id, lambda current: rules.remove_user(current, name)
    )
    await request.service.settled(stored)
    return no_content()


def _user(request: Call, cluster: Cluster) -> User:
    user = cluster.user(request.path_params["username"])
    if user is None:
        raise NotFound
    return user


def _shown(request: Call, user: User, status: int = 200) -> ASGIResponse:
    view = user_view(request.service, user, credentials=request.caller.sees_credentials)
    return answer(UserAnswer(view), status)


ROUTES = (list_users, add_user, get_user, update_user, reset_auth, delete_user)
