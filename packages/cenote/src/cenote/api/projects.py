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
from cenote.api.service import Body, Call, Service, answer, no_content, operation
from cenote.errors import Busy, Invalid, NotFound
from cenote.http.routing import Response
from cenote.model import groups
from cenote.model.groups import CLUSTER_URN, DEFAULT_PROJECT, Project
from cenote.model.records import Cluster, EventType

PATH = "/v2/projects"
ONE = PATH + "/{project_id}"  # or the literal ``default``
MAX_RESOURCES = 200

OWNER = uuid5(NAMESPACE_OID, "cenote")  # the only account and team of a service


class UpdateProject(Body):
    """Fields that are omitted or null are unchanged; which project is the default cannot be changed."""

    name: str | None = None
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


class Assign(Body):
    """URNs of clusters, as in ``do:dbaas:9cc10173-e9ea-4176-9dbc-a4cee4c4ff30``."""

    resources: list[str]


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


class ResourceLinks(msgspec.Struct):
    self: str


class ResourceView(msgspec.Struct):
    """A cluster of a project."""

    urn: str
    assigned_at: datetime
    links: ResourceLinks
    status: str


class ProjectAnswer(msgspec.Struct):
    project: ProjectView


class ProjectsAnswer(msgspec.Struct):
    projects: list[ProjectView]
    links: paging.Links
    meta: paging.Meta


class AssignedAnswer(msgspec.Struct):
    resources: list[ResourceView]


class ResourcesAnswer(msgspec.Struct):
    resources: list[ResourceView]
    links: paging.Links
    meta: paging.Meta


@operation(HTTPMethod.GET, PATH, scope=READ, answer=ProjectsAnswer, paged=True)
async def list_projects(request: Call) -> Response:
    """List all projects, the default project first."""
    found = [DEFAULT_PROJECT, *request.service.store.groups.projects()]
    page, links, meta = paging.page_of(request, found)
    return answer(ProjectsAnswer([_view(project) for project in page], links, meta))


@operation(HTTPMethod.POST, PATH, scope=CREATE, status=201, body=CreateProject, answer=ProjectAnswer)
async def create_project(request: Call) -> Response:
    """Create a project."""
    body = await request.decoded(CreateProject)
    others = request.service.store.groups.projects
    id, now = uuid4(), datetime.now(UTC).replace(microsecond=0)

    def made() -> Project:
        groups.room(others())
        return Project(
            id=id,
            name=groups.project_name(body.name, others()),
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
    return answer(ProjectAnswer(_view(_named(request))))


@operation(HTTPMethod.PATCH, ONE, scope=UPDATE, body=UpdateProject, answer=ProjectAnswer)
async def update_project(request: Call) -> Response:
    """Change a project."""
    id = str(_named(request).id)
    body = await request.decoded(UpdateProject)

    def changed() -> Project:
        before = project_of(request.service, id)
        if before is DEFAULT_PROJECT:
            raise Invalid("the default project can't be changed.")
        if body.is_default:
            raise Invalid("is_default: another project can't become the default one.")
        others = [one for one in request.service.store.groups.projects() if one.id != before.id]
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
    id = str(_named(request).id)

    def empty() -> Project:
        project = project_of(request.service, id)
        if project is DEFAULT_PROJECT:
            raise Invalid("the default project can't be deleted.")
        if _members(request.service, project):
            raise Busy("cannot delete a project with resources")
        return project

    await request.service.store.groups.remove(empty, request.note())
    return no_content()


@operation(HTTPMethod.GET, ONE + "/resources", scope=READ, answer=ResourcesAnswer, paged=True)
async def list_project_resources(request: Call) -> Response:
    """List the clusters of a project, oldest first."""
    found = _members(request.service, _named(request))
    page, links, meta = paging.page_of(request, found)
    return answer(ResourcesAnswer([_resource(request, cluster) for cluster in page], links, meta))


@operation(HTTPMethod.POST, ONE + "/resources", scope=UPDATE, body=Assign, answer=AssignedAnswer)
async def assign_resources(request: Call) -> Response:
    """Assign clusters to a project; the response has a status for each, also for unknown ones."""
    project = _named(request)
    urns = list(dict.fromkeys((await request.decoded(Assign)).resources))
    if len(urns) > MAX_RESOURCES:
        raise Invalid(f"resources: at most {MAX_RESOURCES} are allowed in one request.")
    for urn in urns:
        if not urn.startswith(CLUSTER_URN):
            raise Invalid(f"resources: {urn[:80]!a} is not the URN of a cluster, {CLUSTER_URN}ID.")
    return answer(AssignedAnswer([await _assign(request, urn, project) for urn in urns]))


def project_of(service: Service, text: str | None) -> Project:
    """Return the project with this id, the default project without an id."""
    id = None if text == "default" else rules.optional_uuid("project_id", text)
    if id is None or id == DEFAULT_PROJECT.id:
        return DEFAULT_PROJECT
    found = service.store.groups.project(id)
    if found is None:
        raise NotFound
    return found


async def _assign(request: Call, urn: str, project: Project) -> ResourceView:
    now = datetime.now(UTC).replace(microsecond=0)

    def assigned(cluster: Cluster) -> Cluster:
        if cluster.project_id == project.id:
            return cluster
        return replace(cluster, project_id=project.id, assigned_at=now)

    try:
        before = (await request.service.confirmed_cluster(urn.removeprefix(CLUSTER_URN))).value
        note = request.note(EventType.CLUSTER_UPDATE)
        after = (await request.service.store.update_cluster(before.id, assigned, note)).value
    except NotFound:  # Terraform assigns clusters that it has just deleted to the default project
        return ResourceView(urn, now, ResourceLinks(_link(request, urn)), "not_found")
    view = _resource(request, after)
    view.status = "already_assigned" if before.project_id == project.id else "assigned"
    return view


def _members(service: Service, project: Project) -> list[Cluster]:
    found = [one.value for one in service.store.clusters(deleted=False) if one.value.project_id == project.id]
    return sorted(found, key=lambda cluster: (cluster.created_at, cluster.id))


def _named(request: Call) -> Project:
    try:
        return project_of(request.service, request.path_params["project_id"])
    except Invalid:  # not an id
        raise NotFound from None


def _new_or_current(field: str, new: str | None, current: str) -> str:
    return current if new is None else groups.text(field, new)


def _resource(request: Call, cluster: Cluster) -> ResourceView:
    urn = f"{CLUSTER_URN}{cluster.id}"
    assigned_at = cluster.assigned_at or cluster.created_at
    return ResourceView(urn, assigned_at, ResourceLinks(_link(request, urn)), "ok")


def _link(request: Call, urn: str) -> str:
    return f"{str(request.base_url).rstrip('/')}/v2/databases/{urn.removeprefix(CLUSTER_URN)}"


def _view(project: Project) -> ProjectView:
    return ProjectView(
        id=project.id,
        owner_uuid=OWNER,
        name=project.name,
        description=project.description,
        purpose=project.purpose,
        environment=project.environment,
        is_default=project is DEFAULT_PROJECT,
        created_at=project.created_at,
        updated_at=project.updated_at,
    )


ROUTES = (
    list_projects,
    create_project,
    get_project,
    update_project,
    delete_project,
    list_project_resources,
    assign_resources,
)
