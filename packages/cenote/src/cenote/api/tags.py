"""Tags of clusters.

A tag exists if it was created, or as long as a cluster has it.
"""

from __future__ import annotations

from http import HTTPMethod

import msgspec
from msgspec.structs import replace

from cenote import rules
from cenote.api import paging
from cenote.api.auth import CREATE, DELETE, READ, UPDATE
from cenote.api.call import Call
from cenote.api.operation import Body, answer, no_content, operation
from cenote.api.service import Service
from cenote.errors import Conflict, Invalid, NotFound
from cenote.http.routing import Response
from cenote.model import groups
from cenote.model.event_records import EventType
from cenote.model.groups import Tag
from cenote.model.records import Cluster

PATH = "/v2/tags"
ONE = PATH + "/{tag_name}"
MAX_RESOURCES = 200


class CreateTag(Body):
    name: str


class Resource(Body):
    """A cluster: ``resource_type`` is ``database``, since only clusters can be tagged."""

    resource_id: str
    resource_type: str


class Resources(Body):
    resources: list[Resource]

    def clusters(self) -> list[str]:
        """Return the ids, unchecked; Invalid for a resource that is not a database."""
        if len(self.resources) > MAX_RESOURCES:
            raise Invalid(f"resources: at most {MAX_RESOURCES} are allowed in one request.")
        for one in self.resources:
            if one.resource_type != "database":
                raise Invalid("resources: resource_type must be 'database'.")
        return list(dict.fromkeys(one.resource_id for one in self.resources))


class CountView(msgspec.Struct, frozen=True):
    count: int = 0


class TaggedView(msgspec.Struct, kw_only=True):
    """Counts by kind of resource.  Strict clients need all kinds, also those that Cenote lacks."""

    count: int
    droplets: CountView = CountView()
    images: CountView = CountView()
    volumes: CountView = CountView()
    volume_snapshots: CountView = CountView()
    databases: CountView


class TagView(msgspec.Struct):
    """A tag with the number of its resources."""

    name: str
    resources: TaggedView


class TagAnswer(msgspec.Struct):
    tag: TagView


class TagsAnswer(msgspec.Struct):
    tags: list[TagView]
    links: paging.Links
    meta: paging.Meta


@operation(HTTPMethod.GET, PATH, scope=READ, answer=TagsAnswer, paged=True)
async def list_tags(request: Call) -> Response:
    """List all tags, by name."""
    counts = _counts(request.service)
    page, links, meta = paging.page_of(request, sorted(counts))
    return answer(TagsAnswer([_view(name, counts[name]) for name in page], links, meta))


@operation(HTTPMethod.POST, PATH, scope=CREATE, status=201, body=CreateTag, answer=TagAnswer)
async def create_tag(request: Call) -> Response:
    """Create a tag; succeeds also if it exists."""
    [name] = rules.tags([(await request.decoded(CreateTag)).name])
    store = request.service.store.groups

    def made() -> Tag | None:
        if any(tag.name == name for tag in store.tags()):
            return None
        groups.room(store.tags())
        return Tag(name=name)

    await store.put(made, request.note())
    return answer(TagAnswer(_view(name, _counts(request.service).get(name, 0))), 201)


@operation(HTTPMethod.GET, ONE, scope=READ, answer=TagAnswer)
async def get_tag(request: Call) -> Response:
    """Get a tag with the number of its clusters."""
    name = _named(request)
    return answer(TagAnswer(_view(name, _counts(request.service)[name])))


@operation(HTTPMethod.DELETE, ONE, scope=DELETE, status=204)
async def delete_tag(request: Call) -> Response:
    """Delete a tag and remove it from all clusters."""
    name = _named(request)
    for stored in request.service.store.clusters(deleted=False, tag=name):
        await _set_tag(request, str(stored.value.id), name, tagged=False)

    def unused() -> Tag:
        if request.service.store.clusters(deleted=False, tag=name):
            raise Conflict("The tag was given to a cluster meanwhile; try again.")
        return Tag(name=name)

    await request.service.store.groups.remove(unused, request.note())
    return no_content()


@operation(HTTPMethod.POST, ONE + "/resources", scope=UPDATE, status=204, body=Resources)
async def tag_resources(request: Call) -> Response:
    """Tag clusters; if one of them does not exist, none is tagged."""
    name = _named(request)
    ids = (await request.decoded(Resources)).clusters()
    for id in ids:
        await request.service.confirmed_cluster(id)
    for id in ids:
        await _set_tag(request, id, name, tagged=True)
    return no_content()


@operation(HTTPMethod.DELETE, ONE + "/resources", scope=UPDATE, status=204, body=Resources)
async def untag_resources(request: Call) -> Response:
    """Remove a tag from clusters; the tag itself is kept."""
    name = _named(request)
    ids = (await request.decoded(Resources)).clusters()
    store = request.service.store.groups

    def kept() -> Tag | None:
        return None if any(tag.name == name for tag in store.tags()) else Tag(name=name)

    await store.put(kept, request.note())
    for id in ids:
        await _set_tag(request, id, name, tagged=False)
    return no_content()


async def _set_tag(request: Call, id: str, name: str, *, tagged: bool) -> None:
    def changed(cluster: Cluster) -> Cluster:
        if (name in cluster.tags) == tagged:
            return cluster
        others = [tag for tag in cluster.tags if tag != name]
        return replace(cluster, tags=rules.tags([*others, name] if tagged else others))

    try:
        cluster = (await request.service.confirmed_cluster(id)).value
        note = request.note(EventType.CLUSTER_UPDATE)
        await request.service.store.update_cluster(cluster.id, changed, note)
    except NotFound:
        if tagged:
            raise


def _counts(service: Service) -> dict[str, int]:
    """Return the number of clusters of each tag."""
    counts = dict.fromkeys((tag.name for tag in service.store.groups.tags()), 0)
    for stored in service.store.clusters(deleted=False):
        for name in stored.value.tags:
            counts[name] = counts.get(name, 0) + 1
    return counts


def _named(request: Call) -> str:
    name: str = request.path_params["tag_name"]
    if name not in _counts(request.service):
        raise NotFound
    return name


def _view(name: str, count: int) -> TagView:
    return TagView(name, TaggedView(count=count, databases=CountView(count)))


ROUTES = (list_tags, create_tag, get_tag, delete_tag, tag_resources, untag_resources)
