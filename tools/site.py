"""What MkDocs is told while it builds the site: pages that stand beside docs/, and what no page may do.

README, ARCHITECTURE and the like stay where a reader of the repository looks for them, and are pages of the
site all the same.  Their links, and those to them, are written for the repository; here they are turned.
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
# What is loaded together with a page, as against a link that somebody follows.
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
        raise PluginError(f"{page.file.src_uri} loads something from another site: {found[0]}")
    return output


def turned(markdown: str, *, beside: bool) -> str:
    """Return a page with links as the site has them.

    ``beside``: the page stands in the repository's own folder, not in docs/.
    """
    if beside:
        markdown = re.sub(r"(\]\(|\b(?:src|srcset)=\")docs/", r"\1", markdown)
    for name, page in BESIDE.items():
        there = name if beside else f"../{name}"
        markdown = re.sub(rf"\]\({re.escape(there)}(#[^)]*)?\)", rf"]({page}\1)", markdown)
    return markdown
