"""The configuration of a cluster: every setting with its help, allowed values and current value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPMethod
from typing import Any

import msgspec

from cenote.console import setting_help
from cenote.console.api_client import RequestRejected, path_of
from cenote.console.cluster import PATH, address_of, cluster_of, render_cluster
from cenote.console.request import ConsoleRequest, FormFields, page
from cenote.http.routing import Response
from cenote.model import parameters
from cenote.model.parameters import Choice, Choices, Number, Parameter, Switch
from cenote.model.status_records import SettingLimits
from cenote.rules.configuration import EXTENSIONS_KEY, POOLER_KEY

CONFIG = PATH + "/config"
SWITCH = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting on the page; ``field`` is its name in the form, ``now`` its value as text."""

    field: str
    name: str
    help: str
    allowed: str
    unit: str
    choices: tuple[str, ...]
    now: str
    default: str


@page(HTTPMethod.GET, CONFIG)
async def show_config(request: ConsoleRequest) -> Response:
    return await _show(request, FormFields())


@page(HTTPMethod.POST, CONFIG)
async def change_config(request: ConsoleRequest) -> Response:
    form = (await request.form_fields()).changed()
    place = path_of(request.path_params["id"], "config")
    cluster = await cluster_of(request)
    shown = await request.api.get(place)
    wanted: dict[str, Any] = {}
    count = 0
    for key, settings in groups(shown, int(cluster["version"])).values():
        changes = {
            setting.name: _read(key, setting, form[setting.field])
            for setting in settings
            if setting.field in form
        }
        count += len(changes)
        if key and changes:
            wanted[key] = changes
        elif not key:
            wanted |= changes
    if not wanted:
        return request.redirect(f"{address_of(request)}/config", notice="No settings were changed.")
    try:
        await request.api.patch(place, {"config": wanted})
    except RequestRejected as refusal:
        return await _show(request, form, refusal)
    notice = f"{count} setting{'s' if count > 1 else ''} applied."
    return request.redirect(f"{address_of(request)}/config", notice=notice)


async def _show(
    request: ConsoleRequest, form: FormFields, refusal: RequestRejected | None = None
) -> Response:
    cluster = await cluster_of(request)
    shown = await request.api.get(path_of(cluster["id"], "config"))
    # The API's messages begin with the name of the invalid setting.
    wrong = refusal.message.partition(":")[0] if refusal else ""
    return await render_cluster(
        request,
        "config.html",
        refusal.status if refusal else 200,
        cluster=cluster,
        groups=groups(shown, int(cluster["version"])),
        form=form,
        refusal=refusal.message if refusal else "",
        wrong=wrong,
    )


def groups(shown: Mapping[str, Any], version: int) -> dict[str, tuple[str, list[Setting]]]:
    """Return the settings by title of their group, each with its key in ``config``.

    ``shown`` is the API's response, also with what the cluster's server does not take of what is offered.
    """
    config = shown["config"]
    limits = msgspec.convert(shown.get("cenote", {}).get("limits", {}), dict[str, SettingLimits])
    server = {
        name: parameter.narrowed(limits[name]) if name in limits else parameter
        for name, parameter in parameters.POSTGRESQL.items()
        if parameter.since <= version
    }
    made: tuple[tuple[str, str, Mapping[str, Parameter], Mapping[str, str], Mapping[str, Any], Any], ...] = (
        ("PostgreSQL", "", server, setting_help.POSTGRESQL, config, {}),
        (
            "Failover",
            "",
            {name: one for name, one in parameters.FAILOVER.items() if name in config},
            setting_help.FAILOVER,
            config,
            parameters.FAILOVER_DEFAULTS,
        ),
        (
            "PgBouncer",
            POOLER_KEY,
            parameters.POOLER,
            setting_help.POOLER,
            config[POOLER_KEY],
            parameters.POOLER_DEFAULTS,
        ),
        (
            "Additional pool settings",
            EXTENSIONS_KEY,
            parameters.EXTENSIONS,
            setting_help.EXTENSIONS,
            config[EXTENSIONS_KEY],
            parameters.EXTENSION_DEFAULTS,
        ),
    )
    return {
        title: (
            key,
            [
                _setting(key, parameter, help[name], values.get(name), defaults.get(name))
                for name, parameter in table.items()
            ],
        )
        for title, key, table, help, values, defaults in made
        if table
    }


def _setting(key: str, parameter: Parameter, help: str, value: Any, default: Any) -> Setting:
    allowed, unit, choices = "", "", tuple[str, ...]()
    match parameter:
        case Number():
            unit = "%" if parameter.name.endswith("_percentage") else parameter.unit
            special = "" if parameter.special is None else f", or {parameter.special}"
            allowed = f"Range: {parameter.minimum:,.15g} to {parameter.maximum:,.15g}{special}"
            if parameter.only_grows:
                allowed += "; can only be increased"
        case Switch():
            choices = tuple(SWITCH)
        case Choices():
            allowed = f"Any of {', '.join(parameter.choices)}, separated by commas"
        case Choice():
            choices = parameter.choices
        case _:
            allowed = "Text on one line"
    return Setting(
        field=f"{key}.{parameter.name}" if key else parameter.name,
        name=parameter.name,
        help=help,
        allowed=allowed,
        unit=unit,
        choices=choices,
        now=_written(value),
        default="" if default is None else _written(default) or "empty",
    )


def _written(value: Any) -> str:
    """Return a value as text for the form."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.15g}"
    return str(value)


def _read(key: str, setting: Setting, text: str) -> Any:
    """Return a field's text as the API takes it, None to restore the default; the API validates it."""
    own = parameters.POSTGRESQL | parameters.FAILOVER
    table = {"": own, POOLER_KEY: parameters.POOLER, EXTENSIONS_KEY: parameters.EXTENSIONS}
    parameter = table[key][setting.name]
    if not text:
        return None
    match parameter:
        case Number():
            try:
                return float(text) if parameter.fractions else int(text)
            except ValueError:
                return text
        case Switch():
            return SWITCH.get(text, text)
        case Choices():
            return [word.strip() for word in text.split(",") if word.strip()]
    return text


ROUTES = (show_config, change_config)
