"""Make the sync client from the async one, which is the one that people write.

    python tools/unasync.py           write what has changed
    python tools/unasync.py --check   write nothing; fail when something would change

Only names and the words ``async`` and ``await`` differ between the two; what cannot be said so belongs in a
module without I/O that both use.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAIRS = [
    (ROOT / package / "_async", ROOT / package / "_sync")
    for package in ("packages/cenote-client/src/cenote_client", "packages/cenote-pydo/src/pydo")
]
CHANGES = [
    (r"\basync (?=def |with |for )", ""),
    (r"``async with``", "``with``"),
    (r"\bawait ", ""),
    (r"\b__a(enter|exit|iter|next)__", r"__\1__"),
    (r"\baclose\b", "close"),
    (r"\bhandle_async_request\b", "handle_request"),
    (r"\bopen_async_adapter\b", "open_adapter"),
    (r"\basync_sleep\b", "sleep"),
    (r"\bAsync(?=[A-Z])", ""),
    (r"\b_async\b", "_sync"),
    (r"  # noqa: ASYNC\d+", ""),
]


def sync_text(text: str, source: Path) -> str:
    for pattern, replacement in CHANGES:
        text = re.sub(pattern, replacement, text)
    header = f"# Made from {source.parent.name}/{source.name} by tools/unasync.py; change that one.\n\n"
    if "yield" in text:
        header += "# ruff: noqa: UP028\n\n"  # `yield from` has no async twin
    if "[part for part in" in text:
        header += "# ruff: noqa: C416\n\n"  # nor has `list(…)`
    return formatted(header + text, source)


def formatted(text: str, source: Path) -> str:
    """Return a text in the project's format: without ``async`` and ``await`` some lines fit that did not."""
    ruff = Path(sys.executable).with_name("ruff")
    command = [str(ruff), "format", f"--stdin-filename={source}", "-"]
    return subprocess.run(command, input=text, capture_output=True, check=True, text=True).stdout


def main(arguments: list[str]) -> int:
    stale = []
    for source_folder, target_folder in PAIRS:
        wanted = {}
        for source in sorted(source_folder.glob("*.py")):
            if source.name == "__init__.py":
                continue
            wanted[target_folder / source.name] = sync_text(source.read_text(), source)
        for target, text in wanted.items():
            if not target.exists() or target.read_text() != text:
                stale.append(target)
                if "--check" not in arguments:
                    target.write_text(text)
        for target in target_folder.glob("*.py"):
            if target.name != "__init__.py" and target not in wanted:
                stale.append(target)
                if "--check" not in arguments:
                    target.unlink()
    for path in stale:
        print(f"{'stale' if '--check' in arguments else 'written'}: {path.relative_to(ROOT)}")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
