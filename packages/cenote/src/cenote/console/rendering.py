"""Templates and static files, which are read once: the files may be another version's soon, or out of reach.

All text is escaped, and an undefined variable in a template is an error.  The URL of a static file contains a
hash of it, so that browsers may cache it for a year and still load a new version at once.
"""

from __future__ import annotations

import functools
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import DictLoader, Environment, StrictUndefined

from cenote.console import times
from cenote.model import catalog

FOLDER = Path(__file__).parent
STATIC = "/console/static/"


@dataclass(frozen=True, slots=True)
class Asset:
    """A static file."""

    path: str
    media_type: str
    body: bytes


def load() -> None:
    """Read all files; afterwards none is needed."""
    assets()
    _sources()


@functools.cache
def assets() -> dict[str, Asset]:
    """Return the static files by name."""
    found = {}
    for file in sorted((FOLDER / "static").iterdir()):
        body = file.read_bytes()
        path = f"{STATIC}{file.stem}-{hashlib.sha256(body).hexdigest()[:12]}{file.suffix}"
        found[file.name] = Asset(path, mimetypes.guess_type(file.name)[0] or "application/octet-stream", body)
    return found


@functools.cache
def _sources() -> dict[str, str]:
    """Return the templates by name."""
    folder = FOLDER / "templates"
    return {str(file.relative_to(folder)): file.read_text() for file in sorted(folder.rglob("*.*"))}


class Templates:
    """The templates, with their globals and filters."""

    def __init__(self, files: dict[str, Asset]) -> None:
        self._environment = Environment(
            loader=DictLoader(_sources()),
            autoescape=True,
            auto_reload=False,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(asset=lambda name: files[name].path, size_words=size_words)
        self._environment.filters.update(
            step=lambda text: quote(str(text), safe=""),
            moment=times.moment,
            clock=times.clock,
            when=times.when,
            utc=times.utc,
            short=short,
            mib=mib,
            octets=octets,
            duration=duration,
            number=number,
            seconds=seconds,
        )

    def render(self, template: str, **context: Any) -> str:
        return self._environment.get_template(template).render(context)

    def part(self, template: str, macro: str, *arguments: Any) -> str:
        """Return what a macro renders: a part of a page."""
        return str(getattr(self._environment.get_template(template).module, macro)(*arguments)).strip()


def size_words(slug: str) -> str:
    """Return a size in a few words."""
    size = catalog.SIZES.get(slug)
    return slug if size is None else f"{size.vcpus} vCPU · {mib(size.memory_mib)} · {mib(size.disk_mib)} disk"


def mib(value: int) -> str:
    """Return MiB in a readable unit."""
    if value >= 1024:
        return f"{value / 1024:.1f}".removesuffix(".0") + " GiB"
    return f"{value} MiB"


def octets(value: int) -> str:
    """Return bytes in a readable unit, with a digit after the point below ten."""
    amount, unit = float(value), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    words = f"{amount:.1f}" if amount < 10 and unit != "B" else f"{amount:,.0f}"
    return f"{words.removesuffix('.0')} {unit}"


def duration(value: int) -> str:
    """Return whole seconds as hours, minutes and seconds, such as ``1 h 02 min``."""
    minutes, seconds = divmod(value, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"


def number(value: float) -> str:
    """Return a number with three significant digits, large ones whole and with thousands separators."""
    if value == 0 or abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def short(value: float) -> str:
    """Return a duration in its largest whole unit."""
    if value >= 5400:
        return f"{value / 3600:.0f} h"
    return f"{value / 60:.0f} min" if value >= 90 else f"{value:.0f} s"


def seconds(value: float) -> str:
    """Return a duration."""
    if value >= 1:
        return f"{number(value)} s"
    return f"{value * 1000:.0f} ms" if value else "0"
