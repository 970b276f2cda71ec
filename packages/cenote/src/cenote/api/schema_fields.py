"""What fields of request bodies may be, for the description alone.

These types decode as what they are made of: a rule refuses with words that name the field and say what would
be allowed, which a schema cannot.  What they say is what the rules say; tests hold the two together.
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
from cenote.model.records import ENGINE, Access, PoolMode, SinkType, SourceType
from cenote.rules import MAX_SERVICE_NAMES, MAX_TAGS, clusters, names, pools, storage
from cenote.rules.configuration import EXTENSIONS_KEY, POOLER_KEY


def _told(*examples: Any, **schema: Any) -> Meta:
    return Meta(examples=list(examples) or None, extra_json_schema=schema)


def _one_of(words_: Iterable[str]) -> list[str]:
    """Return members of an enumeration as plain texts."""
    return [str(word) for word in words_]


def _whole(pattern: str) -> str:
    return f"^{pattern}$"


ClusterName = Annotated[
    str, _told("backend", minLength=3, maxLength=63, pattern=_whole(clusters.NAME.pattern))
]
Engine = Annotated[str, _told(enum=[ENGINE])]
SizeSlug = Annotated[str, _told("db-s-1vcpu-1gb", enum=list(catalog.SIZES))]
RegionSlug = Annotated[str, _told("nyc1", enum=list(catalog.REGIONS))]
NodeCount = Annotated[int, _told(enum=[1])]
StorageMib = Annotated[int, _told(minimum=10 * catalog.GIB, maximum=storage.MAX_MIB)]
Tag = Annotated[str, _told("production", pattern=_whole(clusters.TAG.pattern))]
Tags = Annotated[list[Tag], _told(maxItems=MAX_TAGS)]
# Clients send an empty text where they mean none.
OptionalId = Annotated[
    str, _told(pattern="^([0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12})?$")
]
HostName = Annotated[
    str,
    _told("db.example.com", maxLength=253, pattern=r"^[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+$"),
]
HostNames = Annotated[list[HostName], _told(maxItems=MAX_SERVICE_NAMES)]

PoolName = Annotated[
    str, _told("backend-pool", minLength=3, maxLength=63, pattern=_whole(pools.NAME.pattern))
]
Mode = Annotated[str, _told("transaction", enum=_one_of(PoolMode))]
PoolSize = Annotated[int, _told(2, minimum=1, maximum=catalog.MAX_POOLED_CONNECTIONS)]
UserName = Annotated[str, _told("app", minLength=1, maxLength=63, pattern=_whole(names.SERVER_NAME.pattern))]
DatabaseName = Annotated[
    str, _told("orders", minLength=1, maxLength=63, pattern=_whole(names.SERVER_NAME.pattern))
]
AnyUser = Annotated[str, _told("doadmin")]
AnyDatabase = Annotated[str, _told("defaultdb")]
Preset = Annotated[str, _told(enum=_one_of(Access))]

SourceKind = Annotated[str, _told("ip_addr", enum=_one_of(SourceType))]
SourceValue = Annotated[str, _told("192.0.2.0/24", minLength=1, maxLength=firewall.MAX_VALUE_LENGTH)]
SourceText = Annotated[str, _told("the office", maxLength=firewall.MAX_DESCRIPTION_LENGTH)]

# A day may be written in capitals, too.
Day = Annotated[str, _told("tuesday", pattern=r"^[A-Za-z]{3,6}[Dd][Aa][Yy]$")]
Hour = Annotated[str, _told("14:00", pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$")]

TokenName = Annotated[str, _told("deploy", minLength=1, maxLength=100)]
Scopes = Annotated[list[Annotated[str, _told(enum=list(auth.SCOPES))]], _told(minItems=1)]

SinkName = Annotated[str, _told("logs", pattern=_whole(sinks.NAME.pattern))]
SinkKind = Annotated[str, _told("rsyslog", enum=_one_of(SinkType))]

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
    _told({"server": "192.0.2.1", "port": 6514, "tls": True, "format": "rfc5424"}, anyOf=[_SYSLOG, _SEARCH]),
]


# -- The settings of ``config``


@singledispatch
def _setting(parameter: parameters.Parameter) -> dict[str, Any]:
    raise NotImplementedError(parameter)


@_setting.register
def _(parameter: parameters.Number) -> dict[str, Any]:
    told: dict[str, Any] = {
        "type": "number" if parameter.fractions else "integer",
        "minimum": parameter.minimum,
        "maximum": parameter.maximum,
    }
    if parameter.step > 1:
        told["multipleOf"] = parameter.step
    if parameter.unit:
        told["description"] = f"In {parameter.unit}."
    if parameter.special is not None:
        return {"anyOf": [told, {"const": parameter.special}]}
    return told


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
    """Return the schema of an object of settings, each of which may be null."""
    return {
        name: {"anyOf": [_setting(parameter), {"type": "null"}]} for name, parameter in sorted(known.items())
    }


def _nested(known: dict[str, parameters.Parameter]) -> dict[str, Any]:
    return {"type": "object", "properties": _settings(known), "additionalProperties": False}


Configuration = Annotated[
    dict[str, Any],
    _told(
        {"work_mem": 8, POOLER_KEY: {"server_idle_timeout": 300}},
        properties=_settings(parameters.POSTGRESQL)
        | {name: {"const": value} for name, value in parameters.OF_OTHER_ENGINES.items()}
        | {POOLER_KEY: _nested(parameters.POOLER), EXTENSIONS_KEY: _nested(parameters.EXTENSIONS)},
        additionalProperties=False,
    ),
]
