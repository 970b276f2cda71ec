"""What the description says of a field is what the rules take, no less and no more."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from cenote import rules
from cenote.api import schema_fields
from cenote.errors import Invalid
from cenote.model import catalog, firewall, parameters
from cenote.model.firewall import RequestedRule
from cenote.rules import maintenance

SMALLEST = catalog.SIZES["db-s-1vcpu-1gb"]
NOW = datetime(2030, 1, 1, tzinfo=UTC)
# Names that are reserved look like all others, so no schema of a name can leave them out.
RESERVED = re.compile(r"(?i)(pg_|cenote_).*|pgbouncer|postgres|template[01]|cenote|public|none")

CHECKS: dict[str, tuple[Any, Callable[[Any], object]]] = {
    "a cluster's name": (schema_fields.ClusterName, lambda name: rules.cluster_name(name, in_domain=False)),
    "an engine": (schema_fields.Engine, rules.engine),
    "a size": (schema_fields.SizeSlug, rules.size),
    "a region": (schema_fields.RegionSlug, rules.region),
    "a number of nodes": (schema_fields.NodeCount, rules.num_nodes),
    "undelete days": (schema_fields.UndeleteDays, rules.undelete_days),
    "a storage": (schema_fields.StorageMib, lambda mib: rules.storage_mib(mib, SMALLEST)),
    "tags": (schema_fields.Tags, rules.tags),
    "host names": (schema_fields.HostNames, rules.service_names),
    "an id": (schema_fields.OptionalId, lambda text: rules.optional_uuid("project_id", text)),
    "a pool's name": (schema_fields.PoolName, rules.pool_name),
    "a mode": (schema_fields.Mode, rules.pool_mode),
    "a user's name": (schema_fields.UserName, rules.user_name),
    "a database's name": (schema_fields.DatabaseName, rules.database_name),
    "a preset": (schema_fields.Preset, rules.access),
    "a kind of source": (
        schema_fields.SourceKind,
        lambda kind: firewall.replace_rules((), [RequestedRule(kind, "192.0.2.1")], NOW),
    ),
    "a day": (schema_fields.Day, lambda day: maintenance.window(day, "14:00")),
    "an hour": (schema_fields.Hour, lambda hour: maintenance.window("monday", hour)),
}
LETTERS = st.text(st.sampled_from("aAzZ09_-.:@$+ é\n"), max_size=70)
NEAR_WORDS = st.sampled_from(
    ["Monday", "sunday", "14:00", "24:00", "23:59:59", "db.example.com", "-a.b", "a.b-", ""]
)
VALUES = st.one_of(LETTERS, NEAR_WORDS, st.integers(), st.lists(LETTERS, max_size=3))


def takes(check: Callable[[Any], object], value: Any) -> bool:
    try:
        check(value)
    except Invalid:
        return False
    return True


SCHEMAS = {what: msgspec.json.schema(kind) for what, (kind, _) in CHECKS.items()}
DESCRIBED = {what: Draft202012Validator(schema) for what, schema in SCHEMAS.items()}


@pytest.mark.parametrize("what", CHECKS)
@given(value=VALUES)
@example(value="a" * 64)
@example(value=10_239)
@example(value=1)
def test_what_the_rules_take_is_described(what: str, value: Any) -> None:
    kind, check = CHECKS[what]
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return  # another type than the field has
    if takes(check, value) and value != []:
        assert DESCRIBED[what].is_valid(value)


@pytest.mark.parametrize("what", [what for what in CHECKS if what not in ("a day", "host names")])
@settings(max_examples=40)
@given(data=st.data())
def test_what_is_described_is_taken(what: str, data: st.DataObject) -> None:
    """Days and host names are told of more loosely: what they may be has no short form as a pattern."""
    _, check = CHECKS[what]
    value = data.draw(described(SCHEMAS[what]))
    assert takes(check, value) or (isinstance(value, str) and RESERVED.fullmatch(value))


def described(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return the values that a schema of these fields allows."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "integer":
        return st.integers(schema["minimum"], schema["maximum"])
    if schema["type"] == "array":
        return st.lists(described(schema["items"]), max_size=3)
    texts = st.from_regex(re.compile(schema["pattern"], re.ASCII), fullmatch=True)
    most = schema.get("maxLength", 255)
    return texts.filter(lambda text: schema.get("minLength", 0) <= len(text) <= most and "\n" not in text)


CONFIGURATION = msgspec.json.schema(schema_fields.Configuration)["properties"]
SETTINGS = parameters.POSTGRESQL | parameters.POOLER | parameters.EXTENSIONS


def setting_schema(name: str) -> dict[str, Any]:
    for within in (
        CONFIGURATION,
        *(one["properties"] for one in CONFIGURATION.values() if "properties" in one),
    ):
        if name in within:
            found: dict[str, Any] = within[name]["anyOf"][0]
            return found
    raise AssertionError(f"{name} is not described")


def json_numbers(schema: dict[str, Any]) -> list[float]:
    inner = [*schema.get("anyOf", ()), schema]
    return [one[key] for one in inner for key in ("minimum", "maximum", "const") if key in one]


VALIDATORS = {name: Draft202012Validator(setting_schema(name)) for name in SETTINGS}
ANY_VALUE = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer()),
    st.text(st.sampled_from("aZ/+ "), max_size=70),
)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_described_as_it_is_checked_at_each_of_its_edges(name: str) -> None:
    schema = setting_schema(name)
    edges = [number for number in json_numbers(schema) for number in (number - 1, number, number + 1)]
    words = [word for word in re.findall(r'"([^"]*)"', json.dumps(schema)) if word]
    for value in (*edges, *words, *([word] for word in words), True, False, "x" * 2000):
        assert is_described_as_it_is_checked(name, value), value


@settings(max_examples=500)
@given(name=st.sampled_from(list(SETTINGS)), value=ANY_VALUE)
def test_a_setting_is_described_as_it_is_checked(name: str, value: Any) -> None:
    assert is_described_as_it_is_checked(name, value)


def is_described_as_it_is_checked(name: str, value: Any) -> bool:
    parameter = SETTINGS[name]
    if isinstance(value, bool) and isinstance(parameter, parameters.Number):
        return True  # JSON Schema's numbers are no booleans either, Python's are
    return VALIDATORS[name].is_valid(value) == takes(parameter.check, value)
