"""The pages of the documentation, and the blocks of code and commands in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BESIDE = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES = [*BESIDE, *sorted(DOCS.rglob("*.md"))]
_FENCED = re.compile(
    r"^( *)```([\w-]*)(?: +title=\"([^\"]+)\")?[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, its title where it has one, and the heading that it stands under."""

    page: str
    heading: str
    language: str
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}, {self.title or self.heading}"


def prose(page: Path) -> str:
    """Return a page without its code."""
    text = _FENCED.sub("", page.read_text())
    return re.sub(r"(?m)^ {4,}(?![-*\d]).*$", "", text)


def blocks(name: str) -> list[Block]:
    """Return the fenced blocks of a page of docs/, in their order."""
    text = (DOCS / name).read_text()
    found = []
    for match in _FENCED.finditer(text):
        headings = re.findall(r"^#+ +(.+)$", _FENCED.sub("", text[: match.start()]), re.MULTILINE)
        indent, language, title, body = match.groups()
        plain = re.sub(rf"(?m)^{indent}", "", body)
        found.append(Block(name, headings[-1], language, title or "", plain))
    return found
