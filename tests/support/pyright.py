"""The type checker pyright from the npm registry."""

from __future__ import annotations

from tests.support import npm

VERSION = "1.1.414"


def pyright() -> list[str]:
    """Return the command that runs it; the test is skipped where there is no Node.js or no registry."""
    return [npm.node(), str(npm.package("pyright", VERSION) / "index.js")]
