"""MkDocs hooks: add the pages outside ``docs/`` to the site, and fail for resources of other sites.

README, ARCHITECTURE and the like stay in the root of the repository and are pages of the site as well.  Links
from and to them are written for the repository and rewritten here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
BESIDE = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
# Resources that are loaded with a page, as opposed to links.
_LOADED = re.compile(
    r"<(?:script|img|source|iframe)\b[^>]*\bsrc(?:set)?=[\"']?(?:https?:)?//[^>]*>"
    r"|<link\b(?=[^>]*\brel=[\"']?(?:stylesheet|preload|preconnect|icon))[^>]*\bhref=[\"']?(?:https?:)?//[^>]*>"
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name, page in BESIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    if page.file.src_uri in BESIDE.values():
        return turned(markdown, beside=True)
    return turned(markdown, beside=False)


def on_post_page(output: str, page: Page, **_: Any) -> str:
    found = _LOADED.search(output)
    if found:
        raise PluginError(f"{page.file.src_uri} loads a resource of another site: {found[0]}")
    return output


def turned(markdown: str, *, beside: bool) -> str:
    """Return a page with its links rewritten for the site.

    ``beside``: the page is in the root of the repository, not in ``docs/``.
    """
    if beside:
        markdown = re.sub(r"(\]\(|\b(?:src|srcset)=\")docs/", r"\1", markdown)
    for name, page in BESIDE.items():
        there = name if beside else f"../{name}"
        markdown = re.sub(rf"\]\({re.escape(there)}(#[^)]*)?\)", rf"]({page}\1)", markdown)
    return markdown
