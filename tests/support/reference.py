"""The reference of the API: what each operation is, and whether an answer fits its schema.

The file is no part of this repository.  ``CENOTE_REFERENCE_SPEC`` says where it is; without it, a place
beside the clone is tried, and tests that need it are skipped where neither is there.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from jsonschema import Draft4Validator, FormatChecker
from jsonschema.protocols import Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

ROOT = Path(__file__).parents[2]
PLACE = Path("shared") / "spec" / "openapi-databases.yaml"
METHODS = ("get", "post", "put", "patch", "delete")
# Of engines that are not PostgreSQL.
OTHERS = ("eviction_policy", "sql_mode", "topics", "schema-registry", "indexes")

Operation = tuple[str, str]  # method, path

# Below the reference's paths, and not in it; each has tests of its own.
ADDITIONS: set[Operation] = {
    ("GET", "/v2/databases/{database_cluster_uuid}/logs"),
    ("POST", "/v2/databases/{database_cluster_uuid}/backups"),
    ("POST", "/v2/databases/{database_cluster_uuid}/backups/drills"),
    ("POST", "/v2/databases/{database_cluster_uuid}/move"),
    ("DELETE", "/v2/databases/{database_cluster_uuid}/move"),
    ("GET", "/v2/databases/{database_cluster_uuid}/recover"),
    ("POST", "/v2/databases/{database_cluster_uuid}/recover"),
    ("POST", "/v2/databases/{database_cluster_uuid}/switchover"),
    ("POST", "/v2/databases/{database_cluster_uuid}/upgrade/rehearsal"),
    ("DELETE", "/v2/databases/{database_cluster_uuid}/switchover"),
    ("POST", "/v2/databases/{database_cluster_uuid}/online-migration/{migration_id}/finish"),
    ("PUT", "/v2/databases/{database_cluster_uuid}/delete_protection"),
    ("PUT", "/v2/databases/{database_cluster_uuid}/undelete_days"),
    ("GET", "/v2/databases/{database_cluster_uuid}/pool_advice"),
    ("POST", "/v2/databases/{database_cluster_uuid}/pools/{pool_name}/reconnect"),
    ("GET", "/v2/databases/{database_cluster_uuid}/pool_history"),
    ("GET", "/v2/databases/{database_cluster_uuid}/pool_stats"),
    ("GET", "/v2/databases/{database_cluster_uuid}/pool_stats/stream"),
    ("GET", "/v2/databases/{database_cluster_uuid}/pools/{pool_name}/stats"),
}


def reference_file() -> Path:
    """Return the reference's file, or skip the test."""
    named = os.environ.get("CENOTE_REFERENCE_SPEC")
    path = Path(named) if named else ROOT.parent / PLACE
    if not path.is_file():
        pytest.skip(f"there is no API reference at {path}; CENOTE_REFERENCE_SPEC can name one")
    return path


@functools.cache
def _document(path: Path) -> Any:
    return _nullable(yaml.load(path.read_text(), Loader=yaml.CSafeLoader))


def _nullable(node: Any) -> Any:
    """Say ``nullable`` of OpenAPI 3.0 in words of JSON Schema."""
    if isinstance(node, list):
        return [_nullable(item) for item in node]
    if not isinstance(node, dict):
        return node
    told = {key: _nullable(value) for key, value in node.items()}
    if told.pop("nullable", None) is True:
        return {"anyOf": [told, {"type": "null"}]}
    return told


class Reference:
    def __init__(self) -> None:
        self._document = _document(reference_file())
        resource = Resource.from_contents(self._document, default_specification=DRAFT4)
        self._registry: Registry[Any] = Registry().with_resource("urn:reference", resource)

    def operations(self) -> dict[Operation, str]:
        """Return every operation with its summary."""
        return {
            (method.upper(), path): str(entry[method]["summary"]).strip()
            for path, entry in self._document["paths"].items()
            for method in METHODS
            if method in entry
        }

    def scopes(self) -> dict[Operation, list[str]]:
        """Return the scopes that each operation needs."""
        return {
            (method, path): [
                scope
                for demand in self._document["paths"][path][method.lower()].get("security", ())
                for scopes in demand.values()
                for scope in scopes
            ]
            for method, path in self.operations()
        }

    def for_postgresql(self) -> set[Operation]:
        return {
            (method, path)
            for method, path in self.operations()
            if not any(f"/{other}" in path for other in OTHERS)
        }

    def operation(self, method: str, path: str) -> Operation | None:
        """Return the operation that a call is; a literal path goes before one with parameters."""
        return next(
            (
                (method, template)
                for template in sorted(self._document["paths"], key=lambda template: template.count("{"))
                if method.lower() in self._document["paths"][template]
                and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
            ),
            None,
        )

    def faults(self, operation: Operation, status: int, body: Any) -> list[str]:
        """Return what does not fit: the status, that there is a body or none, each wrong place in it."""
        method, path = operation
        responses = self._document["paths"][path][method.lower()]["responses"]
        told = str(status)
        if told not in responses:
            if status < 400:
                return [f"the status is {status}, and the reference knows {sorted(responses)}"]
            told = "500"  # it has one form for all errors
        if "content" not in responses[told]:
            if body is None or (isinstance(body, dict) and body.keys() == {"cenote"}):
                return []  # what is added to the reference stands below this key
            return [f"there is a body, and the reference has none for {status}"]
        where = ["paths", path, method.lower(), "responses", told, "content", "application/json", "schema"]
        pointer = "/".join(quote(part.replace("~", "~0").replace("/", "~1")) for part in where)
        return faults(
            Draft4Validator(
                {"$ref": f"urn:reference#/{pointer}"},
                registry=self._registry,
                format_checker=FormatChecker(),
            ),
            body,
        )


def faults(validator: Validator, body: Any) -> list[str]:
    return [
        f"{'.'.join(map(str, error.absolute_path)) or 'the body'}: {error.message[:300]}"
        for error in validator.iter_errors(body)
    ]
