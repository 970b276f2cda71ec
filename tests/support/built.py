"""Our two client packages as a user gets them: built into wheels, installed where nothing else is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("packages/cenote-client", "packages/cenote-pydo")


def wheels(folder: Path) -> list[Path]:
    """Build both packages, with the build tools of the development environment, and return their wheels."""
    pip("wheel", "--no-deps", "--no-build-isolation", f"--wheel-dir={folder}", *map(str, sources()))
    return sorted(folder.glob("*.whl"))


def installed(folder: Path, built: list[Path]) -> Path:
    """Install wheels and what they depend on into an empty environment, and return its interpreter.

    The test is skipped where the dependencies cannot be had.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    constraints = f"--constraint={ROOT / 'constraints.txt'}"
    pip(f"--python={python}", "install", "--no-compile", constraints, *map(str, built))
    return python


def sources() -> list[Path]:
    return [ROOT / package for package in PACKAGES]


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "No matching distribution found" in done.stderr:
        pytest.skip(f"no package index to install from: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr[-4000:]
