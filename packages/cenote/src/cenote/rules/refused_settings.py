"""Settings of PostgreSQL in a cluster's record that its server does not accept.

They depend on how it was built and on its machine, and a record may have them from before that was checked.
They are left out of its file, where they would keep the server from starting.
"""

from __future__ import annotations

from collections.abc import Mapping

from cenote.model import parameters
from cenote.model.records import Cluster, Value
from cenote.model.status_records import NodeStatus, SettingLimits


def accepted(cluster: Cluster, refused: Mapping[str, str]) -> dict[str, Value]:
    """Return the settings of PostgreSQL that were chosen, without those that the server has refused."""
    return {
        name: value
        for name, value in cluster.configuration.postgresql.items()
        if refused.get(name) != parameters.POSTGRESQL[name].write(value)
    }


def written(cluster: Cluster, refused: Mapping[str, str]) -> dict[str, str]:
    """Return the accepted settings as they are written to the server's file, by its own names."""
    found = {parameters.POSTGRESQL[name]: value for name, value in accepted(cluster, refused).items()}
    # One is set as a share of the memory.
    return {
        parameter.server_name: parameter.write(value)
        for parameter, value in found.items()
        if parameter.server_name != "shared_buffers"
    }


def still_refused(cluster: Cluster, refused: Mapping[str, str]) -> dict[str, str]:
    """Return what the server has refused and is still chosen."""
    taken = accepted(cluster, refused)
    chosen = cluster.configuration.postgresql
    return {name: value for name, value in refused.items() if name in chosen and name not in taken}


def refused(cluster: Cluster, before: Mapping[str, str], seen: Mapping[str, str]) -> dict[str, str]:
    """Return the chosen settings that the server does not accept: those known before, and those seen now.

    ``seen`` are the entries of its file that it does not accept, by its own names.
    """
    names = {
        parameters.POSTGRESQL[name].server_name.lower(): name for name in cluster.configuration.postgresql
    }
    return still_refused(cluster, {**before, **{names.get(name, name): seen[name] for name in seen}})


def refusals(cluster: Cluster, seen: NodeStatus | None) -> list[str]:
    """Describe the settings that the server does not accept."""
    if seen is None:
        return []
    found = []
    for name, value in still_refused(cluster, seen.refused).items():
        limits = seen.limits.get(name)
        found.append(f"PostgreSQL does not accept {name} = {value!r}{_allowed(limits)}")
    return found


def _allowed(limits: SettingLimits | None) -> str:
    if limits is None:
        return ""
    if limits.choices is not None:
        return f"; it takes {', '.join(map(repr, limits.choices))}"
    return f"; it takes {limits.minimum:.15g} to {limits.maximum:.15g}"
