"""Projects: each cluster belongs to one, by default to the default project."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPMethod
from uuid import NAMESPACE_OID, UUID, uuid4, uuid5

import msgspec
from msgspec.structs import replace

from cenote import rules
from cenote.api import paging
from cenote.api.auth import CREATE, DELETE, READ, UPDATE
from cenote.api.call import Call
from cenote.api.operation import Body, answer, no_content, operation
from cenote.api.service import Service
from cenote.errors import Busy, Invalid, NotFound
from cenote.http.routing import Response
from cenote.model import groups
from cenote.model.groups import DEFAULT_PROJECT, Project
from cenote.model.records import Cluster

PATH = "/v2/projects"
ONE = PATH + "/{project_id}"  # or the literal ``default``

OWNER = uuid5(NAMESPACE_OID, "cenote")  # the only account and team of a service


class UpdateProject(Body):
    """Fields that are omitted or null are unchanged; which project is the default cannot be changed."""

    name: str | None = None
    description: str | None = None
    purpose: str | None = None
    environment: str | None = None
    is_default: bool | None = None


class ReplaceProject(Body):
    """Fields that are omitted or null are emptied; which project is the default cannot be changed."""

    name: str
    description: str | None = None
    purpose: str | None = None
    environment: str | None = None
    is_default: bool | None = None


class CreateProject(Body):
    """``environment`` is Development, Staging, Production or empty."""

    name: str
    description: str | None = None
    purpose: str | None = None
    environment: str | None = None


class ProjectView(msgspec.Struct, kw_only=True):
    """A project."""

    id: UUID
    owner_uuid: UUID
    owner_id: int = 1
    name: str
    description: str
    purpose: str
    environment: str
    is_default: bool
    created_at: datetime
    updated_at: datetime


class ProjectAnswer(msgspec.Struct):
    project: ProjectView


class ProjectsAnswer(msgspec.Struct):
    projects: list[ProjectView]
    links: paging.Links
    meta: paging.Meta


@operation(HTTPMethod.GET, PATH, scope=READ, answer=ProjectsAnswer, paged=True)
async def list_projects(request: Call) -> Response:
    """List all projects, the default project first."""
    found = _all(request.service)
    page, links, meta = paging.page_of(request, found)
    return answer(ProjectsAnswer([_view(project) for project in page], links, meta))


@operation(HTTPMethod.POST, PATH, scope=CREATE, status=201, body=CreateProject, answer=ProjectAnswer)
async def create_project(request: Call) -> Response:
    """Create a project."""
    body = await request.decoded(CreateProject)
    id, now = uuid4(), datetime.now(UTC).replace(microsecond=0)

    def made() -> Project:
        groups.room(request.service.store.groups.projects())
        return Project(
            id=id,
            name=groups.project_name(body.name, _all(request.service)),
            description=groups.text("description", body.description),
            purpose=groups.text("purpose", body.purpose),
            environment=groups.environment(body.environment),
            created_at=now,
            updated_at=now,
        )

    await request.service.store.groups.put(made, request.note())
    return answer(ProjectAnswer(_view(project_of(request.service, str(id)))), 201)


@operation(HTTPMethod.GET, ONE, scope=READ, answer=ProjectAnswer)
async def get_project(request: Call) -> Response:
    """Get a project; the id `default` is the default project."""
    return answer(ProjectAnswer(_view(named(request))))


@operation(HTTPMethod.PATCH, ONE, scope=UPDATE, body=UpdateProject, answer=ProjectAnswer)
async def update_project(request: Call) -> Response:
    """Change a project; the id `default` is the default project."""
    named(request)  # 404 takes precedence over an invalid body
    return await _change(request, await request.decoded(UpdateProject))


@operation(HTTPMethod.PUT, ONE, scope=UPDATE, body=ReplaceProject, answer=ProjectAnswer)
async def replace_project(request: Call) -> Response:
    """Replace all fields of a project; the id `default` is the default project."""
    named(request)
    body = await request.decoded(ReplaceProject)
    whole = UpdateProject(
        name=body.name,
        description=body.description or "",
        purpose=body.purpose or "",
        environment=body.environment or "",
        is_default=body.is_default,
    )
    return await _change(request, whole)


async def _change(request: Call, body: UpdateProject) -> Response:
    id = str(named(request).id)

    def changed() -> Project:
        before = project_of(request.service, id)
        if body.is_default is not None and body.is_default is not _is_default(before):
            raise Invalid("is_default: which project is the default one can't be changed.")
        others = [one for one in _all(request.service) if one.id != before.id]
        return replace(
            before,
            name=before.name if body.name is None else groups.project_name(body.name, others),
            description=_new_or_current("description", body.description, before.description),
            purpose=_new_or_current("purpose", body.purpose, before.purpose),
            environment=before.environment
            if body.environment is None
            else groups.environment(body.environment),
            updated_at=datetime.now(UTC).replace(microsecond=0),
        )

    await request.service.store.groups.put(changed, request.note())
    return answer(ProjectAnswer(_view(project_of(request.service, id))))


@operation(HTTPMethod.DELETE, ONE, scope=DELETE, status=204, also=(412, 422))
async def delete_project(request: Call) -> Response:
    """Delete a project that has no clusters."""
    id = str(named(request).id)

    def empty() -> Project:
        project = project_of(request.service, id)
        if _is_default(project):
            raise Invalid("the default project can't be deleted.")
        if members(request.service, project):
            raise Busy("cannot delete a project with resources")
        return project

    await request.service.store.groups.remove(empty, request.note())
    return no_content()


def project_of(service: Service, text: str | None) -> Project:
    """Return the project with this id, the default project without an id."""
    id = None if text == "default" else rules.optional_uuid("project_id", text)
    found = service.store.groups.project(DEFAULT_PROJECT.id if id is None else id)
    if found is None:
        raise NotFound
    return found


def _all(service: Service) -> list[Project]:
    return [service.store.groups.default_project(), *service.store.groups.projects()]


def _is_default(project: Project) -> bool:
    return project.id == DEFAULT_PROJECT.id


def members(service: Service, project: Project) -> list[Cluster]:
    """Return the clusters of a project, oldest first."""
    found = [one.value for one in service.store.clusters(deleted=False) if one.value.project_id == project.id]
    return sorted(found, key=lambda cluster: (cluster.created_at, cluster.id))


def named(request: Call) -> Project:
    """Return the project in the path."""
    try:
        return project_of(request.service, request.path_params["project_id"])
    except Invalid:  # not an id
        raise NotFound from None


def _new_or_current(field: str, new: str | None, current: str) -> str:
    return current if new is None else groups.text(field, new)


def _view(project: Project) -> ProjectView:
    return ProjectView(
        id=project.id,
        owner_uuid=OWNER,
        name=project.name,
        description=project.description,
        purpose=project.purpose,
        environment=project.environment,
        is_default=_is_default(project),
        created_at=project.created_at,
        updated_at=project.updated_at,
    )


ROUTES = (
    list_projects,
    create_project,
    get_project,
    update_project,
    replace_project,
    delete_project,
)
