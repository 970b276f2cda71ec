"""The archive in which the launcher of Patroni is put beside its configuration."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path

from cenote.host import launcher_archive

PATRONI = """\
from multiprocessing import get_context


def main():
    import sys

    from patroni.child import said

    queue = get_context("spawn").SimpleQueue()
    child = get_context("spawn").Process(target=said, args=(queue,))
    child.start()
    print(sys.argv[1:], queue.get())
    child.join()
"""
START = """
def main(path):
    import sys

    sys.path.insert(0, path)
    from patroni.__main__ import main as run

    run()
"""


def test_it_starts_patroni_and_its_children_do_not_start_another(tmp_path: Path) -> None:
    """Patroni starts PostgreSQL from a process that is spawned, and imports the main module anew."""
    folder, stands_for = tmp_path / "modules" / "patroni", tmp_path / "launcher.pyz"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "__main__.py").write_text(PATRONI)
    (folder / "child.py").write_text("def said(queue):\n    queue.put('started')\n")

    with (
        zipfile.ZipFile(io.BytesIO(launcher_archive.content())) as made,
        zipfile.ZipFile(stands_for, "w") as written,
    ):
        for name in made.namelist():
            text = START.encode() if name == "patroni_launcher/start.py" else made.read(name)
            written.writestr(name, text)
    done = subprocess.run(
        [sys.executable, "-I", str(stands_for), str(folder.parent)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"[{str(folder.parent)!r}] started\n", "")


def test_it_imports_no_module_of_ours_and_is_the_same_each_time() -> None:
    content = launcher_archive.content()
    assert content == launcher_archive.content()
    assert b"from cenote" not in content
    assert b"import cenote" not in content
