"""Generate the sync clients from the asyncio ones.

    python tools/unasync.py           write the files that have changed
    python tools/unasync.py --check   write nothing; fail if a file would change

The two differ in names and in the words ``async`` and ``await`` only.  Code that differs in another way
belongs in a module without I/O that both import.
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
    (r"\basync_refusal\b", "refusal"),
    (r"\bAsync(?=[A-Z])", ""),
    (r"\b_async\b", "_sync"),
    (r"  # noqa: ASYNC\d+", ""),
]


def sync_text(text: str, source: Path) -> str:
    for pattern, replacement in CHANGES:
        text = re.sub(pattern, replacement, text)
    header = f"# Generated from {source.parent.name}/{source.name} by tools/unasync.py; edit that file.\n\n"
    if "yield" in text:
        header += "# ruff: noqa: UP028\n\n"  # `yield from` has no async equivalent
    if "[part for part in" in text:
        header += "# ruff: noqa: C416\n\n"  # neither has `list(…)`
    return formatted(header + text, source)


def formatted(text: str, source: Path) -> str:
    """Return the text formatted with ruff, because lines become shorter without ``async`` and ``await``."""
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
