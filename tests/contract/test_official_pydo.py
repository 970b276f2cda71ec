"""The official pydo, as it is on PyPI, against a real ``cenote serve``."""

from __future__ import annotations

from tests.support.official_pydo import official_answer, run_official


def test_the_official_client_is_the_one_from_pypi() -> None:
    script = "import json, pydo; print(json.dumps([pydo.__file__, pydo.__version__]))"
    file, version = official_answer(script)
    assert "/build/official-pydo/" in file
    assert version == "0.44.0"


def test_a_script_that_fails_says_so() -> None:
    assert run_official("raise SystemExit(7)").returncode == 7
