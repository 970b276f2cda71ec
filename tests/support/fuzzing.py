"""schemathesis against a running service: what it is told, and what it reports."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.environments import python_of
from tests.support.service import Service, clean_environment

PINS = Path(__file__).with_name("schemathesis.txt")
HOOKS = Path(__file__).parents[1] / "contract" / "fuzzing" / "hooks.py"
CONFIGURATION = """
continue-on-failure = true
hooks = {hooks}
tls-verify = {authority}
request-timeout = 60
max-stream-events = 1
headers = {{ Authorization = {authorization} }}
warnings = false

[output.sanitization]
enabled = true

[generation]
database = "none"

[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx"]

# No schema can say that a name is taken, that a pool is too large for what is left, or that a cluster is
# busy.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 401, 403, 404, 409, 412, 422]
"""


@dataclass(frozen=True)
class Report:
    """What a run has done: its report, what it has printed, each call with its status, each secret seen."""

    told: Any
    output: str
    calls: list[tuple[str, str, int]]
    secrets: set[str]

    @property
    def cases(self) -> int:
        return int(self.told["test_cases"]["generated"])

    @property
    def found(self) -> list[str]:
        """Every failure and error, in words."""
        failures = [
            f"{one['title']} ({one['count']}): {', '.join(one['operations'])}"
            for one in self.told["failures"]
        ]
        return failures + [f"{one['title']} ({one['count']})" for one in self.told["errors"]]


def fuzz(
    running: Service,
    description: str,
    folder: Path,
    *,
    known: Mapping[str, str],
    kept: list[str],
    options: list[str],
    configuration: str = "",
) -> Report:
    """Run schemathesis with a description of the API; skip the test where it cannot be had.

    ``known``: what calls have for these parameters of the path; without it they make something up.
    """
    python = python_of("schemathesis", PINS)
    variables = running.environment()
    text = CONFIGURATION.format(
        hooks=json.dumps(str(HOOKS)),
        authority=json.dumps(variables["SSL_CERT_FILE"]),
        authorization=json.dumps(f"Bearer {variables['DIGITALOCEAN_TOKEN']}"),
    )
    text += "\n[parameters]\n"
    text += "".join(f"{json.dumps(f'path.{name}')} = {json.dumps(value)}\n" for name, value in known.items())
    settings = folder / "schemathesis.toml"
    settings.touch(mode=0o600)
    settings.write_text(text + configuration)
    report = folder / "report.json"
    done = subprocess.run(
        [
            *(str(python.with_name("schemathesis")), "--config-file", str(settings), "run", description),
            *("--url", variables["DIGITALOCEAN_API_URL"], "--no-color"),
            *("--report-json-path", str(report), *options),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        env=clean_environment()
        | {
            "CENOTE_FUZZ_KEPT": json.dumps(kept),
            "CENOTE_FUZZ_SECRETS": str(folder / "secrets"),
            "CENOTE_FUZZ_CALLS": str(folder / "calls"),
        },
        check=False,
    )
    assert report.exists(), (done.stdout + done.stderr)[-4000:]
    calls = [line.split(" ") for line in (folder / "calls").read_text().splitlines()]
    return Report(
        json.loads(report.read_text()),
        done.stdout + done.stderr,
        [(method, path, int(status)) for method, path, status in calls],
        set((folder / "secrets").read_text().splitlines()),
    )
