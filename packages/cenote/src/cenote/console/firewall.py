"""The trusted sources of a cluster.

A change that would shut out the address of the person at the console asks first, and so does every removal.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPMethod
from ipaddress import IPv6Address
from typing import Any

from cenote.console.api_client import RequestRejected, path_of
from cenote.console.cluster import PATH, address_of, render_cluster
from cenote.console.request import ConsoleRequest, FormFields, page
from cenote.console.sorting import Sorting
from cenote.http.routing import Response
from cenote.model import firewall

SOURCES = PATH + "/sources"
COLUMNS: dict[str, Callable[[Any], Any]] = {
    "source": lambda rule: rule["value"],
    "description": lambda rule: rule.get("description"),
    "added": lambda rule: rule["created_at"],
}
_UNDONE = "This page stays reachable and can undo it: trusted sources do not apply to the console or the API."


@page(HTTPMethod.GET, SOURCES)
async def list_sources(request: ConsoleRequest) -> Response:
    return await _show(request, FormFields())


@page(HTTPMethod.POST, SOURCES)
async def add(request: ConsoleRequest) -> Response:
    """Add a source; the API replaces the whole list, so the others are sent unchanged."""
    form = await request.form_fields()
    rules = await _rules(request)
    new = {"type": "ip_addr", "value": form["value"]}
    if form["description"]:
        new["description"] = form["description"]
    wanted = [*rules, new]
    if form["sure"] != form["value"] and _is_source(form["value"]) and _shuts_out(request, rules, wanted):
        return await _ask_to_add(request, form)
    try:
        await request.api.put(_place(request), {"rules": wanted})
    except RequestRejected as refusal:
        return await _show(request, form, refusal)
    notice = f"{new['value']} added to the trusted sources."
    return request.redirect(f"{address_of(request)}/sources", notice=notice)


async def _ask_to_add(request: ConsoleRequest, form: FormFields) -> Response:
    return await render_cluster(
        request,
        "confirm.html",
        tab_name="sources",
        question=f"Admit {form['value']} only?",
        consequences=[_shut_out(request), _UNDONE],
        action=f"{address_of(request)}/sources",
        fields={"value": form["value"], "description": form["description"], "sure": form["value"]},
        button=f"Add {form['value']}",
        back=f"{address_of(request)}/sources",
        refusal="",
    )


@page(HTTPMethod.GET, SOURCES + "/{rule}/remove")
async def ask_to_remove(request: ConsoleRequest) -> Response:
    return await _ask_to_remove(request)


@page(HTTPMethod.POST, SOURCES + "/{rule}/remove")
async def remove(request: ConsoleRequest) -> Response:
    rules = await _rules(request)
    gone = _rule(request, rules)
    try:
        await request.api.put(_place(request), {"rules": [rule for rule in rules if rule is not gone]})
    except RequestRejected as refusal:
        return await _ask_to_remove(request, refusal)
    return request.redirect(f"{address_of(request)}/sources", notice=f"{gone['value']} removed.")


async def _ask_to_remove(request: ConsoleRequest, refusal: RequestRejected | None = None) -> Response:
    rules = await _rules(request)
    gone = _rule(request, rules)
    left = [rule for rule in rules if rule is not gone]
    if not left:
        lines = ["It is the only trusted source. Without one, all addresses may connect (password required)."]
    elif _shuts_out(request, rules, left):
        lines = [_shut_out(request), _UNDONE]
    else:
        lines = ["Connections from it are closed at once, unless another source admits them."]
    return await render_cluster(
        request,
        "confirm.html",
        refusal.status if refusal else 200,
        tab_name="sources",
        question=f"Remove {gone['value']} from the trusted sources?",
        consequences=lines,
        button=f"Remove {gone['value']}",
        back=f"{address_of(request)}/sources",
        refusal=refusal.message if refusal else "",
    )


def _place(request: ConsoleRequest) -> str:
    return path_of(request.path_params["id"], "firewall")


async def _rules(request: ConsoleRequest) -> list[Any]:
    rules: list[Any] = (await request.api.get(_place(request)))["rules"]
    return rules


def _rule(request: ConsoleRequest, rules: list[Any]) -> Any:
    for rule in rules:
        if rule["uuid"] == request.path_params["rule"]:
            return rule
    raise RequestRejected(404, "No such trusted source; it may have been removed already.")


def _is_source(text: str) -> bool:
    """Whether the API would accept a text as a source; otherwise it says what is wrong with it."""
    try:
        firewall.parse_network(text)
    except ValueError:
        return False
    return True


def _shuts_out(request: ConsoleRequest, before: list[Any], after: list[Any]) -> bool:
    """Whether the person's own address may connect before a change, and may not after it.

    A change that the token may not make shuts no address out: the API refuses it.
    """
    return request.can("database:update") and _admitted(request, before) and not _admitted(request, after)


def _admitted(request: ConsoleRequest, rules: list[Any]) -> bool:
    own = firewall.parse_address(request.address)
    if own is None or not rules:
        return True
    if isinstance(own, IPv6Address) and own.ipv4_mapped is not None:
        own = own.ipv4_mapped
    sources = [firewall.parse_network(rule["value"]) for rule in rules if rule["type"] == "ip_addr"]
    return any(own in network for network in sources)


def _shut_out(request: ConsoleRequest) -> str:
    return (
        f"Your own address, {request.address} as the service sees it, would no longer be admitted to the "
        "cluster, and its connections would be closed at once. Behind a proxy or a tunnel your programs may "
        "have another address."
    )


async def _show(
    request: ConsoleRequest, form: FormFields, refusal: RequestRejected | None = None
) -> Response:
    sorting = Sorting(request, COLUMNS)
    return await render_cluster(
        request,
        "sources.html",
        refusal.status if refusal else 200,
        rules=sorting.rows(await _rules(request)),
        sorting=sorting,
        form=form,
        refusal=refusal.message if refusal else "",
        own_address=request.address,
    )


ROUTES = (list_sources, add, ask_to_remove, remove)
