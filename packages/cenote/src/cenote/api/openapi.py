"""The OpenAPI document at ``/openapi.json``, and the same as a page at ``/docs``.

Both are generated from the declarations of the operations, which also check scopes and decode bodies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from http import HTTPStatus
from typing import Any, get_args, get_origin

import msgspec

from cenote import __version__
from cenote.api.errors import ErrorView
from cenote.api.operation import Operation, OperationRoute

MAIN_EVENT = "sample"  # the type of server-sent event that the schema of a stream describes
_PARAMETER = re.compile(r"\{(\w+)\}")

_HEADERS = {
    "x-request-id": {"schema": {"type": "string"}, "description": "The id of the request, as in the log."},
    "ratelimit-limit": {"schema": {"type": "integer"}, "description": "Requests allowed per hour."},
    "ratelimit-remaining": {"schema": {"type": "integer"}, "description": "Requests remaining."},
    "ratelimit-reset": {
        "schema": {"type": "integer"},
        "description": "When the oldest request expires, in seconds of the Unix epoch.",
    },
}


_REFERENCES = {name: {"$ref": f"#/components/headers/{name}"} for name in _HEADERS}


def describe(routes: Iterable[OperationRoute]) -> dict[str, Any]:
    """Return the OpenAPI document of these operations."""
    declared = [(route.path, route.name, route.operation) for route in routes]
    given = {kind for _, _, one in declared for kind in (one.body, one.answer) if kind is not None}
    kinds = {_of_list(kind) or kind for kind in given} - {str}
    ordered = [ErrorView, *sorted(kinds, key=lambda kind: str(kind.__name__))]
    _, components = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for path, name, one in sorted(declared, key=lambda row: (row[0], row[2].method)):
        entry = paths.setdefault(path, {})
        entry[one.method.lower()] = _operation(path, name, one)
    _add_links(paths)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Cenote",
            "version": __version__,
            "summary": "Managed PostgreSQL on your own machines.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "headers": _HEADERS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(path: str, name: str, one: Operation) -> dict[str, Any]:
    summary, _, rest = one.summary.partition("\n")
    description = [rest.strip()] if rest.strip() else []
    if one.scopes:
        description.append(f"Requires the scope {' and '.join(f'`{scope}`' for scope in one.scopes)}.")
    entry: dict[str, Any] = {
        "operationId": f"{name}_{one.method.lower()}_{_tail(path)}" if name in _SHARED else name,
        "summary": summary,
        "description": "\n\n".join(description),
        "tags": [_noun(path)],
        "parameters": _parameters(path, one),
        "responses": _responses(path, one),
    }
    if one.scope is None:
        entry["security"] = []
    elif one.scopes:
        entry["x-scope"] = " ".join(one.scopes)
    if one.body is not None:
        entry["requestBody"] = {"required": True, "content": _content(one.body)}
    return {key: value for key, value in entry.items() if value or key == "security"}


# For each collection, where the response to a creation has the id or name that the paths below it take.
_CREATED = {
    "/v2/databases": "$response.body#/database/id",
    "/v2/databases/{database_cluster_uuid}/pools": "$response.body#/pool/name",
    "/v2/databases/{database_cluster_uuid}/users": "$response.body#/user/name",
    "/v2/databases/{database_cluster_uuid}/dbs": "$response.body#/db/name",
    "/v2/databases/{database_cluster_uuid}/logsink": "$response.body#/sink/sink_id",
    "/v2/cenote/tokens": "$response.body#/token/id",
    "/v2/cenote/hosts/tokens": "$response.body#/host_token/id",
}


def _add_links(paths: dict[str, dict[str, Any]]) -> None:
    """Add OpenAPI links from each creation to the operations on the new resource."""
    for collection, pointer in _CREATED.items():
        if "post" not in paths.get(collection, {}):
            continue
        links: dict[str, Any] = {}
        for path, entry in paths.items():
            below = re.match(re.escape(collection) + r"/\{(\w+)\}(?![^/])", path)
            if below is None:
                continue
            given = {name: f"$request.path.{name}" for name in re.findall(r"\{(\w+)\}", collection)}
            for one in entry.values():
                links[one["operationId"]] = {
                    "operationId": one["operationId"],
                    "parameters": given | {below[1]: pointer},
                }
        paths[collection]["post"]["responses"]["201"]["links"] = links


_SHARED = frozenset({"reject", "not_found", "empty"})  # functions of several routes


def _parameters(path: str, one: Operation) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(path)
    ]
    parameters += [{"name": name, "in": "query", "schema": {"type": "string"}} for name in one.query]
    if one.paged:
        number = {"type": "integer", "minimum": 1}
        parameters += [
            {"name": "page", "in": "query", "schema": {**number, "default": 1}},
            {"name": "per_page", "in": "query", "schema": {**number, "maximum": 200, "default": 20}},
        ]
    return parameters


def _responses(path: str, one: Operation) -> dict[str, Any]:
    good: dict[str, Any] = {"description": HTTPStatus(one.status).phrase, "headers": _REFERENCES}
    if one.answer is not None:
        good["content"] = _events(one.answer) if one.streams else _content(one.answer)
    responses = {str(one.status): good}
    if one.scope is None:
        return responses
    errors = {401, 403, 429, 500}
    errors |= {404} if _PARAMETER.search(path) else set()
    errors |= {400, 413, 422} if one.body is not None else set()
    errors |= {422} if one.paged or one.query else set()
    errors |= {409, 503} if one.method != "GET" else set()
    errors |= set(one.also)
    for status in sorted(errors):
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "headers": _REFERENCES,
            "content": _content(ErrorView),
        }
    return responses


def _events(kind: Any) -> dict[str, Any]:
    """Return the content of a stream; the schema describes the data of events of the main type only."""
    return {
        "text/event-stream": {
            "schema": {
                "type": "object",
                "properties": {
                    "event": {"type": "string"},
                    "id": {"type": "string"},
                    "data": {"type": "string", "contentMediaType": "application/json"},
                },
                "if": {"properties": {"event": {"const": MAIN_EVENT}}, "required": ["event"]},
                "then": {
                    "properties": {
                        "data": {
                            "contentMediaType": "application/json",
                            "contentSchema": {"$ref": f"#/components/schemas/{kind.__name__}"},
                        }
                    }
                },
            }
        }
    }


def _content(kind: Any) -> dict[str, Any]:
    if kind is str:
        return {"text/plain": {"schema": {"type": "string"}}}
    inner = _of_list(kind)
    schema: dict[str, Any] = {"$ref": f"#/components/schemas/{(inner or kind).__name__}"}
    return {"application/json": {"schema": {"type": "array", "items": schema} if inner else schema}}


def _of_list(kind: Any) -> Any:
    """Return the type of a list's items, None for another type."""
    return get_args(kind)[0] if get_origin(kind) is list else None


def _noun(path: str) -> str:
    words = [word for word in path.split("/")[2:] if not word.startswith("{")]
    if words[:1] not in ([], ["databases"], ["cenote"]):
        return words[0]
    return words[1] if len(words) > 1 else "clusters"


def _tail(path: str) -> str:
    return re.sub(r"\W+", "_", _PARAMETER.sub(r"\1", path).removeprefix("/v2/databases/")).strip("_")


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Cenote API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
code {{ font-family: ui-monospace, monospace; overflow-wrap: anywhere }}
summary {{ cursor: pointer; padding: .3rem 0 }}
details {{ border-bottom: 1px solid #8884 }} b {{ display: inline-block; min-width: 4.5rem }}
pre {{ background: #8881; padding: .8rem; overflow: auto }}
@media (prefers-color-scheme: dark) {{ body {{ background: #111; color: #eee }} a {{ color: #8cf }} }}
</style></head><body>
<h1>Cenote API {version}</h1>
<p>Every request needs <code>Authorization: Bearer TOKEN</code>. Machine-readable:
<a href="/openapi.json">openapi.json</a>.</p>
{sections}
</body></html>
"""


def page(document: dict[str, Any]) -> str:
    """Return the document as a page without scripts or external resources."""
    sections: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            for tag in one["tags"]:
                sections.setdefault(tag, []).append(_details(document, path, method, one))
    return _PAGE.format(
        version=escape(document["info"]["version"]),
        sections="\n".join(f"<h2>{escape(tag)}</h2>\n{''.join(rows)}" for tag, rows in sections.items()),
    )


def _details(document: dict[str, Any], path: str, method: str, one: dict[str, Any]) -> str:
    parts = [f"<p>{_prose(one.get('description', ''))}</p>"]
    query = [p["name"] for p in one.get("parameters", ()) if p["in"] == "query"]
    if query:
        parts.append(f"<p>Query: {', '.join(f'<code>{escape(name)}</code>' for name in query)}</p>")
    if "requestBody" in one:
        parts.append(f"<p>Body</p>{_shape(document, one['requestBody'])}")
    for status, response in one["responses"].items():
        if int(status) < 300:
            parts.append(f"<p>{status} {escape(response['description'])}</p>{_shape(document, response)}")
    codes = ", ".join(status for status in one["responses"] if int(status) >= 400)
    if codes:
        parts.append(f"<p>Errors: {codes}</p>")
    return (
        f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code><br>"
        f"{escape(one['summary'])}</summary>{''.join(parts)}</details>\n"
    )


def _shape(document: dict[str, Any], holder: dict[str, Any]) -> str:
    if "content" not in holder:
        return ""
    [content] = holder["content"].values()
    schema = content["schema"]
    return f"<pre><code>{escape(_text(document, schema, ''))}</code></pre>"


def _text(document: dict[str, Any], schema: dict[str, Any], indent: str) -> str:
    """Return a schema as text: fields with their types, and whether they are optional."""
    if "$ref" in schema:
        found = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return _text(document, found, indent)
    if "enum" in schema:
        return " | ".join(repr(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(_text(document, one, indent) for one in schema["anyOf"]))
    if schema.get("type") == "array":
        return f"[{_text(document, schema.get('items', {}), indent)}]"
    if schema.get("type") == "object" and "properties" in schema:
        deeper = indent + "  "
        required = set(schema.get("required", ()))
        lines = [
            f"{deeper}{name}{'' if name in required else '?'}: {_text(document, one, deeper)}"
            for name, one in schema["properties"].items()
        ]
        return "{\n" + "\n".join(lines) + f"\n{indent}}}"
    return str(schema.get("format") or schema.get("type") or "anything")


def _prose(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text)).replace("\n\n", "<br>")
