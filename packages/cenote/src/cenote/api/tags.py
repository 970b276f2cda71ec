"""Tags: words that clusters are found by.

A tag is there when it was made, or as long as a cluster has it.
"""

from __future__ import annotations

from http import HTTPMethod

import msgspec
from msgspec.structs import replace

from cenote import rules
from cenote.api import paging
from cenote.api.auth import CREATE, DELETE, READ, UPDATE
from cenote.api.service import Body, Call, Service, answer, no_content, operation
from cenote.errors import Conflict, Invalid, NotFound
from cenote.http.routing import Response
from cenote.model import groups
from cenote.model.groups import Tag
from cenote.model.records import Cluster, EventType

PATH = "/v2/tags"
ONE = PATH + "/{tag_name}"
MOST_AT_ONCE = 200


class CreateTag(Body):
    name: str


class Resource(Body):
    """A cluster: ``resource_type`` is ``database``, as there is nothing else here that can be tagged."""

    resource_id: str
    resource_type: str


class Resources(Body):
    resources: list[Resource]

    def clusters(self) -> list[str]:
        """Return the ids as they were sent; what is no database is refused."""
        if len(self.resources) > MOST_AT_ONCE:
            raise Invalid(f"resources: there may be {MOST_AT_ONCE} in one request.")
        for one in self.resources:
            if one.resource_type != "database":
                raise Invalid("resources: here a resource_type is 'database'.")
        return list(dict.fromkeys(one.resource_id for one in self.resources))


class CountView(msgspec.Struct, frozen=True):
    count: int = 0


class TaggedView(msgspec.Struct, kw_only=True):
    """How many there are of each kind.  Strict clients need all of them, also those that are not here."""

    count: int
    droplets: CountView = CountView()
    images: CountView = CountView()
    volumes: CountView = CountView()
    volume_snapshots: CountView = CountView()
    databases: CountView


class TagView(msgspec.Struct):
    """A tag and what has it."""

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
    """Make a tag; one that is there already is answered like a new one."""
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
    """Get a tag, and how many clusters have it."""
    name = _named(request)
    return answer(TagAnswer(_view(name, _counts(request.service)[name])))


@operation(HTTPMethod.DELETE, ONE, scope=DELETE, status=204)
async def delete_tag(request: Call) -> Response:
    """Delete a tag, and take it from every cluster that has it."""
    name = _named(request)
    for stored in request.service.store.clusters(deleted=False, tag=name):
        await _tag(request, str(stored.value.id), name, wanted=False)

    def unused() -> Tag:
        if request.service.store.clusters(deleted=False, tag=name):
            raise Conflict("The tag was given to a cluster meanwhile; try again.")
        return Tag(name=name)

    await request.service.store.groups.remove(unused, request.note())
    return no_content()


@operation(HTTPMethod.POST, ONE + "/resources", scope=UPDATE, status=204, body=Resources)
async def tag_resources(request: Call) -> Response:
    """Give clusters a tag; nothing happens when one of them is not there."""
    name = _named(request)
    ids = (await request.decoded(Resources)).clusters()
    for id in ids:
        await request.service.confirmed_cluster(id)
    for id in ids:
        await _tag(request, id, name, wanted=True)
    return no_content()


@operation(HTTPMethod.DELETE, ONE + "/resources", scope=UPDATE, status=204, body=Resources)
async def untag_resources(request: Call) -> Response:
    """Take a tag from clusters, as far as they have it; the tag itself stays."""
    name = _named(request)
    ids = (await request.decoded(Resources)).clusters()
    store = request.service.store.groups

    def kept() -> Tag | None:
        return None if any(tag.name == name for tag in store.tags()) else Tag(name=name)

    await store.put(kept, request.note())
    for id in ids:
        await _tag(request, id, name, wanted=False)
    return no_content()


async def _tag(request: Call, id: str, name: str, *, wanted: bool) -> None:
    def tagged(cluster: Cluster) -> Cluster:
        if (name in cluster.tags) == wanted:
            return cluster
        others = [tag for tag in cluster.tags if tag != name]
        return replace(cluster, tags=rules.tags([*others, name] if wanted else others))

    try:
        cluster = (await request.service.confirmed_cluster(id)).value
        note = request.note(EventType.CLUSTER_UPDATE)
        await request.service.store.update_cluster(cluster.id, tagged, note)
    except NotFound:
        if wanted:
            raise


def _counts(service: Service) -> dict[str, int]:
    """Return every tag, with the number of clusters that have it."""
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
