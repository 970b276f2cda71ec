"""The launcher of Patroni as one file, which Patroni's own interpreter runs: an archive of its modules.

One file is replaced at once, so Patroni never starts with modules of two versions.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from cenote.host import patroni_launcher

_MAIN = b"""\
import sys

from patroni_launcher import start

if __name__ == "__main__":
    start.main(sys.argv[1])
"""
_TIME = (1980, 1, 1, 0, 0, 0)  # of each file, so that the same modules make the same archive


def content() -> bytes:
    """Return the archive; it differs only if a module does."""
    folder = Path(patroni_launcher.__file__).parent
    files = {"__main__.py": _MAIN}
    files |= {f"{folder.name}/{path.name}": path.read_bytes() for path in sorted(folder.glob("*.py"))}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as written:
        for name, text in files.items():
            written.writestr(zipfile.ZipInfo(name, _TIME), text)
    return archive.getvalue()
