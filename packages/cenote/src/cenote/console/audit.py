"""The audit log: a page and a file of it, which need the scope ``cenote:admin``."""

from __future__ import annotations

import csv
import io
from http import HTTPMethod
from typing import Any
from urllib.parse import urlencode

from cenote.console.clusters import page_number
from cenote.console.request import ConsoleRequest, page
from cenote.http.routing import Response

PATH = "/console/audit"
FILE = PATH + ".csv"
FILTERS = {"search": 200, "token": 100, "cluster_uuid": 36}  # and how long each may be
PER_PAGE = 50
FILE_PAGES, FILE_PER_PAGE = 25, 200
COLUMNS = ("at", "token", "address", "cluster", "outcome", "reason", "changes", "request", "status", "count")
_FORMULA = ("=", "+", "-", "@")


@page(HTTPMethod.GET, PATH)
async def show_audit(request: ConsoleRequest) -> Response:
    chosen, number = _chosen(request), page_number(request)
    found = await _entries(request, chosen, number, PER_PAGE)
    total = found["meta"]["total"]

    def link(page: int) -> str:
        return _link(PATH, chosen, **({"page": page} if page > 1 else {}))

    return request.render(
        "audit.html",
        entries=found["entries"],
        chosen={name: chosen.get(name, "") for name in FILTERS},
        total=total,
        first=(number - 1) * PER_PAGE + 1,
        previous=link(number - 1) if number > 1 else "",
        next=link(number + 1) if number * PER_PAGE < total else "",
        download=_link(FILE, chosen),
    )


@page(HTTPMethod.GET, FILE)
async def download_audit(request: ConsoleRequest) -> Response:
    """Send the newest entries as a file for spreadsheets."""
    chosen = _chosen(request)
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(COLUMNS)
    for number in range(1, FILE_PAGES + 1):
        found = await _entries(request, chosen, number, FILE_PER_PAGE)
        rows.writerows(map(_row, found["entries"]))
        if number * FILE_PER_PAGE >= found["meta"]["total"]:
            break
    return Response(
        body=text.getvalue().encode(),
        media_type="text/csv",
        headers=[("content-disposition", 'attachment; filename="audit.csv"')],
    )


async def _entries(request: ConsoleRequest, chosen: dict[str, str], number: int, per_page: int) -> Any:
    return await request.api.get("/v2/cenote/audit", page=number, per_page=per_page, **chosen)


def _chosen(request: ConsoleRequest) -> dict[str, str]:
    """Return the filters that are filled in."""
    given = {name: request.query_params.get(name, "").strip()[:most] for name, most in FILTERS.items()}
    return {name: text for name, text in given.items() if text}


def _link(path: str, chosen: dict[str, str], **more: int) -> str:
    query = urlencode({**chosen, **more})
    return f"{path}?{query}" if query else path


def _row(entry: Any) -> list[str]:
    cells = (
        entry["at"],
        entry["token"]["name"] if entry["token"] else "",
        entry["address"],
        entry["cluster_name"],
        entry["outcome"],
        entry["reason"],
        entry["summary"] if entry["changes"] else "",
        entry["what"],
        entry["refused"],
        entry["count"],
    )
    return [_cell("" if cell is None else str(cell)) for cell in cells]


def _cell(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula: names are chosen by others."""
    return f"'{text}" if text.startswith(_FORMULA) else text


ROUTES = (show_audit, download_audit)
