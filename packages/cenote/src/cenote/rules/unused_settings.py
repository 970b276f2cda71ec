"""Settings that are kept for clients that read them again, and have no effect.

Those of TimescaleDB are an object in the API, and stand with the object's name before theirs in the record.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from cenote.errors import Invalid
from cenote.model import parameters
from cenote.model.parameters import Parameter
from cenote.model.records import Cluster, Value

OBJECT = "timescaledb"
_PREFIX = f"{OBJECT}."

OF_BACKUPS = frozenset({"backup_hour", "backup_minute"})  # in effect where backups are kept

PLAIN = {name: one for name, one in parameters.UNUSED.items() if not name.startswith(_PREFIX)}
IN_OBJECT: dict[str, Parameter] = {
    name.removeprefix(_PREFIX): one for name, one in parameters.UNUSED.items() if name.startswith(_PREFIX)
}


def split(requested: Mapping[str, Any], before: Mapping[str, Value]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the requested settings without effect, by their names in the record, and the others.

    Null in place of the object takes back all that is in it.
    """
    unused = {name: value for name, value in requested.items() if name in PLAIN}
    others = {name: value for name, value in requested.items() if name not in PLAIN and name != OBJECT}
    inner = requested.get(OBJECT, {})
    if inner is None:
        return unused | dict.fromkeys(name for name in before if name.startswith(_PREFIX)), others
    if not isinstance(inner, dict):
        raise Invalid(f"{OBJECT}: must be an object.")
    for name, value in inner.items():
        if name not in IN_OBJECT:
            raise Invalid(f"{OBJECT}: {name[:80]!a} is not a setting that can be changed here.")
        unused[_PREFIX + name] = value
    return unused, others


def shown(unused: Mapping[str, Value]) -> dict[str, Any]:
    """Return the settings as the API shows them."""
    plain: dict[str, Any] = {name: value for name, value in unused.items() if not name.startswith(_PREFIX)}
    inner = {name.removeprefix(_PREFIX): value for name, value in unused.items() if name.startswith(_PREFIX)}
    return plain | ({OBJECT: inner} if inner else {})


def named(requested: Mapping[str, Any]) -> set[str]:
    """Return the names in the record of all settings of a request."""
    return {*requested, *(_PREFIX + name for name in requested.get(OBJECT) or ())}


def in_words(cluster: Cluster, names: Collection[str] | None = None) -> list[str]:
    """Describe those that are set, or those of them with these names: for ``cenote.not_in_force``."""
    return [
        f"{name} has no effect: {parameters.UNUSED_REASONS.get(name, 'this version does not know it')}"
        for name in sorted(cluster.configuration.unused)
        if (names is None or name in names) and not (cluster.backups is not None and name in OF_BACKUPS)
    ]
