"""Schemas of the fields of request bodies, for the OpenAPI document only.

Decoding does not enforce them: ``rules`` does, with messages that name the field and what is allowed.  Tests
check that schemas and rules agree.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import singledispatch
from typing import Annotated, Any

from msgspec import Meta

from cenote.api import auth
from cenote.logs import sinks
from cenote.logs.syslog import Format
from cenote.model import catalog, firewall, parameters
from cenote.model.fleet_records import HostRole
from cenote.model.records import ENGINE, Access, PoolMode, SinkType, SourceType
from cenote.rules import (
    MAX_SERVICE_NAMES,
    MAX_TAGS,
    clusters,
    names,
    online_migrations,
    pools,
    storage,
    unused_settings,
)
from cenote.rules.configuration import EXTENSIONS_KEY, POOLER_KEY


def _schema(*examples: Any, **schema: Any) -> Meta:
    return Meta(examples=list(examples) or None, extra_json_schema=schema)


def _one_of(words_: Iterable[str]) -> list[str]:
    """Return the members of an enumeration as strings."""
    return [str(word) for word in words_]


def _whole(pattern: str) -> str:
    return f"^{pattern}$"


ClusterName = Annotated[
    str, _schema("backend", minLength=3, maxLength=63, pattern=_whole(clusters.NAME.pattern))
]
UndeleteDays = Annotated[int, _schema(7, minimum=0, maximum=clusters.MOST_UNDELETE_DAYS)]
BackupMoment = Annotated[str, _schema("2026-11-28T10:00:00Z")]  # or ""
Engine = Annotated[str, _schema(enum=[ENGINE])]
SizeSlug = Annotated[str, _schema("db-s-1vcpu-1gb", enum=list(catalog.SIZES))]
RegionSlug = Annotated[str, _schema("nyc1", enum=list(catalog.REGIONS))]
MajorVersion = Annotated[str, _schema("17", pattern=r"^[0-9]{2,3}$")]
AnySize = Annotated[str, _schema("db-s-1vcpu-1gb", enum=[*catalog.SIZES, ""])]
AnyRegion = Annotated[str, _schema("nyc1", enum=[*catalog.REGIONS, ""])]
NodeCount = Annotated[int, _schema(enum=[1])]
StorageMib = Annotated[int, _schema(minimum=10 * catalog.GIB, maximum=storage.MAX_MIB)]
Tag = Annotated[str, _schema("production", pattern=_whole(clusters.TAG.pattern))]
Tags = Annotated[list[Tag], _schema(maxItems=MAX_TAGS)]
# Clients send an empty string for none.
OptionalId = Annotated[
    str, _schema(pattern="^([0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12})?$")
]
HostName = Annotated[
    str,
    _schema("db.example.com", maxLength=253, pattern=r"^[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+$"),
]
LONGEST_HOST, LONGEST_ZONE = 253, 63
WishedHost = Annotated[str, _schema("db-1", maxLength=LONGEST_HOST)]
NodeName = Annotated[str, _schema("node-2", maxLength=40)]
Zone = Annotated[str, _schema("rack-1", maxLength=LONGEST_ZONE)]
HostNames = Annotated[list[HostName], _schema(maxItems=MAX_SERVICE_NAMES)]

PoolName = Annotated[
    str, _schema("backend-pool", minLength=3, maxLength=63, pattern=_whole(pools.NAME.pattern))
]
Mode = Annotated[str, _schema("transaction", enum=_one_of(PoolMode))]
PoolSize = Annotated[int, _schema(2, minimum=1, maximum=catalog.MAX_POOLED_CONNECTIONS)]
UserName = Annotated[
    str, _schema("app", minLength=1, maxLength=63, pattern=_whole(names.SERVER_NAME.pattern))
]
DatabaseName = Annotated[
    str, _schema("orders", minLength=1, maxLength=63, pattern=_whole(names.SERVER_NAME.pattern))
]
AnyUser = Annotated[str, _schema("doadmin")]
AnyDatabase = Annotated[str, _schema("defaultdb")]
Preset = Annotated[str, _schema(enum=_one_of(Access))]

SourceKind = Annotated[str, _schema("ip_addr", enum=_one_of(SourceType))]
SourceValue = Annotated[str, _schema("192.0.2.0/24", minLength=1, maxLength=firewall.MAX_VALUE_LENGTH)]
SourceText = Annotated[str, _schema("the office", maxLength=firewall.MAX_DESCRIPTION_LENGTH)]

SourceHost = Annotated[str, _schema("db.example.com", minLength=1, maxLength=253)]
SourcePort = Annotated[int, _schema(5432, minimum=1, maximum=65535)]
SourceUser = Annotated[str, _schema("postgres", minLength=1, maxLength=63)]
SourceDatabase = Annotated[str, _schema("postgres", minLength=1, maxLength=63)]
IgnoredDatabases = Annotated[
    list[SourceDatabase], _schema(["template1"], maxItems=online_migrations.MOST_IGNORED)
]

# Case does not matter.
Day = Annotated[str, _schema("tuesday", pattern=r"^[A-Za-z]{3,6}[Dd][Aa][Yy]$")]
Hour = Annotated[str, _schema("14:00", pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$")]

TokenName = Annotated[str, _schema("deploy", minLength=1, maxLength=100)]
Scopes = Annotated[list[Annotated[str, _schema(enum=list(auth.SCOPES))]], _schema(minItems=1)]

HostRoles = Annotated[list[Annotated[str, _schema(enum=_one_of(HostRole))]], _schema(minItems=1)]

SinkName = Annotated[str, _schema("logs", pattern=_whole(sinks.NAME.pattern))]
SinkKind = Annotated[str, _schema("rsyslog", enum=_one_of(SinkType))]

_TEXT = {"type": ["string", "null"]}
_SYSLOG = {
    "type": "object",
    "properties": {
        "server": {"type": "string", "maxLength": 253},
        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
        "format": {"type": "string", "enum": _one_of(Format)},
        "tls": {"type": ["boolean", "null"]},
        **dict.fromkeys(("logline", "sd", "ca", "cert", "key"), _TEXT),
    },
    "required": ["server", "port", "format"],
    "additionalProperties": False,
}
_SEARCH = {
    "type": "object",
    "properties": {
        "url": {"type": "string"},
        "index_prefix": {"type": "string", "pattern": _whole(sinks.INDEX.pattern)},
        "index_days_max": {"type": ["integer", "null"], "minimum": 1, "maximum": 10_000},
        "timeout": {"type": ["number", "null"], "minimum": 10, "maximum": 120},
        "ca": _TEXT,
    },
    "required": ["url", "index_prefix"],
    "additionalProperties": False,
}
SinkConfig = Annotated[
    dict[str, Any],
    _schema(
        {"server": "192.0.2.1", "port": 6514, "tls": True, "format": "rfc5424"}, anyOf=[_SYSLOG, _SEARCH]
    ),
]


# -- Configuration settings


@singledispatch
def _setting(parameter: parameters.Parameter) -> dict[str, Any]:
    raise NotImplementedError(parameter)


@_setting.register
def _(parameter: parameters.Number) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "number" if parameter.fractions else "integer",
        "minimum": parameter.minimum,
        "maximum": parameter.maximum,
    }
    if parameter.step > 1:
        schema["multipleOf"] = parameter.step
    if parameter.unit:
        schema["description"] = f"In {parameter.unit}."
    if parameter.special is not None:
        return {"anyOf": [schema, {"const": parameter.special}]}
    return schema


@_setting.register
def _(parameter: parameters.Switch) -> dict[str, Any]:
    return {"type": "boolean"}


@_setting.register
def _(parameter: parameters.Choice) -> dict[str, Any]:
    return {"type": "string", "enum": list(parameter.choices)}


@_setting.register
def _(parameter: parameters.Choices) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string", "enum": list(parameter.choices)}}


@_setting.register
def _(parameter: parameters.Text) -> dict[str, Any]:
    return {"type": "string", "maxLength": parameter.max_length}


def _settings(known: dict[str, parameters.Parameter]) -> dict[str, Any]:
    """Return the schema of an object of settings, each of them nullable."""
    return {
        name: {"anyOf": [_setting(parameter), {"type": "null"}]} for name, parameter in sorted(known.items())
    }


def _nested(known: dict[str, parameters.Parameter]) -> dict[str, Any]:
    return {"type": "object", "properties": _settings(known), "additionalProperties": False}


Configuration = Annotated[
    dict[str, Any],
    _schema(
        {"work_mem": 8, POOLER_KEY: {"server_idle_timeout": 300}},
        properties=_settings(parameters.POSTGRESQL | parameters.FAILOVER | unused_settings.PLAIN)
        | {name: {"const": value} for name, value in parameters.OF_OTHER_ENGINES.items()}
        | {
            POOLER_KEY: _nested(parameters.POOLER),
            EXTENSIONS_KEY: _nested(parameters.EXTENSIONS),
            unused_settings.OBJECT: {"anyOf": [_nested(unused_settings.IN_OBJECT), {"type": "null"}]},
        },
        additionalProperties=False,
    ),
]
