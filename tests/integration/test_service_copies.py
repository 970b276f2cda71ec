"""``cenote serve --service-backup-dir``: the service backs itself up, and says when it cannot."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cenote.host import service_copy
from cenote.model.fleet_records import ServiceCopy
from cenote.model.paths import Layout
from tests.support.folders import server_folder
from tests.support.service import Service, calling, run_cenote, service
from tests.support.waiting import wait_until

METRIC = re.compile(r"^cenote_host_service_backup_timestamp_seconds\{.*\} (\S+)$", re.MULTILINE)


@pytest.fixture
def place() -> Iterator[Path]:
    with server_folder() as folder:
        (folder / "passphrase").write_text("correct horse battery\n")
        (folder / "passphrase").chmod(0o600)
        (folder / "copies").mkdir(mode=0o700)
        yield folder


def options(place: Path) -> tuple[str, ...]:
    return (
        f"--service-backup-dir={place / 'copies'}",
        f"--service-backup-passphrase-file={place / 'passphrase'}",
        "--service-backups-kept=2",
    )


def state(running: Service) -> ServiceCopy:
    return service_copy.read(Layout(running.data_dir)) or ServiceCopy()


def metric(running: Service) -> float:
    with calling(running) as http:
        [value] = METRIC.findall(http.get("/metrics").text)
    return float(value)


def test_a_service_backs_itself_up_and_keeps_the_newest(place: Path) -> None:
    with service(*options(place)) as running:
        at = wait_until("a backup is made", 60, lambda: state(running).at)
        assert at is not None
        [file] = (place / "copies").iterdir()
        assert file.stat().st_mode & 0o777 == 0o600
        shown = run_cenote(
            "service", "show", str(file), f"--passphrase-file={place / 'passphrase'}", "-ojson"
        )
        found: Any = json.loads(shown.stdout)
        assert found["hosts"] == [found["host"]]
        assert "automatic backups of the service: the newest is of" in running.cenote("doctor")
        wait_until("the metric has it", 60, lambda: metric(running) == at.timestamp())

        running.end()
        head = file.name.rpartition("-")[0]
        others = [f"{head}-2020010{day}T000000Z.cenote" for day in (1, 2, 3)]
        for name in (*others, "another-file"):
            (place / "copies" / name).touch()
        file.unlink()
        running.start()
        wait_until("another one is made", 60, lambda: len(list((place / "copies").iterdir())) == 3)
        kept = {path.name for path in (place / "copies").iterdir()}
        assert {others[2], "another-file"} < kept


def test_a_service_says_why_it_cannot_back_itself_up(place: Path) -> None:
    (place / "passphrase").chmod(0o644)
    with service(*options(place)) as running:
        why = wait_until("it says so", 60, lambda: state(running).problem)
        assert "no backup of the service could be made in" in why
        assert "is open to others; fix: chmod 600" in why
        assert why in running.log()
        assert f"{why}; none was made" in running.cenote("doctor")
        wait_until("the metric says so", 60, lambda: metric(running) == 0)
        running.end()
        (place / "passphrase").chmod(0o600)
        running.start()
        wait_until("it is made", 60, lambda: state(running).at is not None)
        assert not state(running).problem
        assert "correct horse" not in running.log()


def test_one_of_the_options_is_not_enough(place: Path) -> None:
    done = run_cenote("serve", options(place)[0], f"--data-dir={place / 'data'}")
    assert "must be given together" in done.stderr
    assert not (place / "data").exists()
