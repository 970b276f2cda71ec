"""``cenote service``: a real service goes into a file, and another one comes out of it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cenote.host import processes
from tests.support.fleet import FleetHost, fleet
from tests.support.folders import server_folder
from tests.support.service import (
    CENOTE,
    Service,
    added_pool,
    answer_of,
    clean_environment,
    online,
    online_cluster,
    run_cenote,
    service,
    tried,
)
from tests.support.waiting import wait_until

PASSPHRASE = "correct horse battery"
ROWS = "SELECT count(*) FROM parts"


@pytest.fixture
def place() -> Iterator[Path]:
    with server_folder() as folder:
        secret = folder / "passphrase"
        secret.write_text(PASSPHRASE + "\n")
        secret.chmod(0o600)
        yield folder


@contextlib.contextmanager
def another(running: Service, data_dir: Path) -> Iterator[Service]:
    """A service with another data directory and the ports of this one, whose machine is lost."""
    ports = (f"--ports={running.first_port}-{running.api_port - 1}", f"--port={running.api_port}")
    new = Service(data_dir, *ports)
    try:
        yield new
    finally:
        new.clean_up()


def command(place: Path, name: str, *more: str) -> tuple[str, ...]:
    return ("service", name, str(place / "file"), f"--passphrase-file={place / 'passphrase'}", *more)


def with_rows(uri: str) -> None:
    with psycopg.connect(uri) as connection:
        connection.execute("CREATE TABLE parts AS SELECT generate_series(1, 42) AS id")


def shown(client: Any, id: str) -> Any:
    return client.request("GET", f"/v2/databases/{id}")["database"]


def test_a_service_comes_back_on_another_machine_with_its_data(place: Path) -> None:
    with service("--name=db-1") as running:
        with running.client() as client:
            cluster = online_cluster(client, "backend")
            pool = added_pool(client, cluster["id"], "backend-pool")["connection"]["uri"]
            before = shown(client, cluster["id"])
        with_rows(cluster["connection"]["uri"])
        said = running.run(*command(place, "backup"))
        assert said.returncode == 0, said.stderr
        assert "The service, with 1 cluster, is in" in said.stderr
        assert (place / "file").stat().st_mode & 0o777 == 0o600
        assert answer_of(pool, ROWS) == 42, "nothing was interrupted"

        running.stop()
        token = (running.data_dir / "admin-token").read_text()
        authority = (running.data_dir / "ca.crt").read_bytes()
        with another(running, place / "new") as new:
            new.cenote(*command(place, "restore"))
            subprocess.run(["cp", "-a", running.data_dir / "clusters", new.data_dir], check=True)
            new.start()
            assert (new.data_dir / "admin-token").read_text() == token
            assert (new.data_dir / "ca.crt").read_bytes() == authority
            wait_until("the pool answers with all rows", 60, lambda: tried(pool, ROWS) == 42)
            with new.client(token.strip()) as client:
                found = online(client, cluster["id"])
                for field in ("id", "name", "created_at", "connection", "users", "db_names"):
                    assert found[field] == before[field]
                [host] = client.request("GET", "/v2/cenote/hosts")["hosts"]
                assert host["name"] == "db-1"
                events = client.request("GET", f"/v2/databases/{cluster['id']}/events")["events"]
                assert events, "the history came along"
                added_pool(client, cluster["id"], "another-pool")


def test_a_cluster_whose_data_did_not_come_along_says_so_and_is_not_made_anew(place: Path) -> None:
    with service() as running:
        with running.client() as client:
            cluster = online_cluster(client, "backend")
        running.cenote(*command(place, "backup"))
        running.stop()
        with another(running, place / "new") as new:
            new.cenote(*command(place, "restore"))
            new.start()
            with new.client() as client:

                def reason() -> str:
                    return str(shown(client, cluster["id"])["cenote"]["reason"])

                wait_until("it says so", 60, lambda: "its data directory is missing" in reason())
                assert shown(client, cluster["id"])["cenote"]["health"] == "down"
                assert tried(cluster["connection"]["uri"]) is None
                assert not list((new.data_dir / "clusters").glob("*/pg"))
                client.request("DELETE", f"/v2/databases/{cluster['id']}")
                again = online_cluster(client, "backend")
                assert again["id"] != cluster["id"]
                assert answer_of(again["connection"]["uri"]) == 42


def test_a_backup_of_a_stopped_service_is_the_same_and_leaves_nothing_running(place: Path) -> None:
    with service() as running:
        with running.client() as client:
            online_cluster(client, "backend")
        running.cenote(*command(place, "backup"))
        first = summary(place)
        assert first["clusters"] == ["backend"]
        assert len(first["hosts"]) == 1
        running.stop()
        refused = running.run(*command(place, "backup"))
        assert refused.returncode != 0
        assert "exists; give another name, or --force" in refused.stderr
        running.cenote(*command(place, "backup", "--force"))
        assert running.servers() == {}
        second = summary(place)
        assert second | {"made_at": "", "records": 0} == first | {"made_at": "", "records": 0}


def summary(place: Path) -> dict[str, Any]:
    done = run_cenote(*command(place, "show", "--output=json"))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_no_secret_is_in_the_file_or_in_the_arguments(place: Path) -> None:
    with service() as running:
        with running.client() as client:
            cluster = online_cluster(client, "backend")
        options = command(place, "backup", f"--data-dir={running.data_dir}")
        with subprocess.Popen([CENOTE, *options], env=clean_environment()) as process:
            seen = [Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
            assert process.wait(timeout=120) == 0
        assert PASSPHRASE.encode() not in b"".join(seen)
        content = (place / "file").read_bytes()
        secrets = [user["password"] for user in cluster["users"]]
        secrets += [
            (running.data_dir / name).read_text().strip()
            for name in ("admin-token", "keys/etcd-root", "keys/host.key", "api/sealing.key")
        ]
        secrets += [(running.data_dir / "ca.key").read_text().splitlines()[1]]
        assert [secret for secret in secrets if secret.encode() in content] == []
        assert b"backend" not in content
        assert PASSPHRASE not in running.log()


def test_a_restore_that_is_refused_changes_nothing(place: Path) -> None:
    with service() as running:
        running.cenote(*command(place, "backup"))
        said = running.run(*command(place, "restore"))
        assert "a service runs in" in said.stderr
        running.stop()
        before = listing(running.data_dir)
        said = running.run(*command(place, "restore"))
        assert "has a service already (host.json is there)" in said.stderr
        assert listing(running.data_dir) == before

    def refused() -> str:
        done = run_cenote(*command(place, "restore", f"--data-dir={place / 'new'}"))
        assert (done.returncode, done.stdout) == (1, "")
        assert not (place / "new").exists()
        return done.stderr

    content = (place / "file").read_bytes()
    (place / "file").write_bytes(content[:-1])
    assert "the file is cut off" in refused()
    (place / "file").write_bytes(b"\x1f\x8b" + content)
    assert "this is not the backup of a service by Cenote" in refused()
    (place / "file").write_bytes(content)
    (place / "no-folder").touch()
    done = run_cenote(*command(place, "restore", f"--data-dir={place / 'no-folder' / 'new'}"))
    assert "Traceback" not in done.stderr
    assert "Not a directory" in done.stderr
    (place / "passphrase").write_text("incorrect horse\n")
    assert "the passphrase is wrong" in refused()
    (place / "passphrase").chmod(0o640)
    assert "is open to others; fix: chmod 600" in refused()
    (place / "passphrase").unlink()
    assert "cannot be read: No such file or directory" in refused()
    done = run_cenote("service", "restore", str(place / "file"), f"--data-dir={place / 'new'}")
    assert "(no terminal); give --passphrase-file" in done.stderr


def listing(folder: Path) -> list[tuple[str, int]]:
    return [(str(path), path.lstat().st_mtime_ns) for path in sorted(folder.iterdir())]


def test_a_restore_that_was_cut_off_is_not_served_and_begins_anew(place: Path) -> None:
    with service() as running:
        token = (running.data_dir / "admin-token").read_text()
        running.cenote(*command(place, "backup"))
        running.stop()
        with another(running, place / "new") as new:
            new.cenote(*command(place, "restore"))
            (new.data_dir / "restoring").touch()
            (new.data_dir / "host.json").unlink()
            done = run_cenote("serve", f"--data-dir={new.data_dir}", "--port=0")
            assert "the restore into" in done.stderr
            assert "has not come to its end; run 'cenote service restore' again" in done.stderr
            assert f"or, when you have moved the former service back, remove {new.data_dir}/" in done.stderr
            (new.data_dir / "admin-token").write_text("moved back")
            done = new.run(*command(place, "restore"))
            assert done.returncode == 0, done.stderr
            [before] = new.data_dir.glob("before-*")
            assert f"what was there of a service is in {before} now" in done.stderr
            assert before.stat().st_mode & 0o777 == 0o700
            assert (before / "admin-token").read_text() == "moved back"
            assert (before / "api" / "sealing.key").exists()
            assert (before / "etcd").is_dir()
            new.start()
            with new.client(token.strip()) as client:
                assert client.request("GET", "/v2/databases")["databases"] == []


def test_a_restore_that_fails_leaves_the_directory_as_it_was(place: Path) -> None:
    with service() as running:
        running.cenote(*command(place, "backup"))
    new = place / "new"
    new.mkdir()
    (new / "keys").write_text("no folder")
    done = run_cenote(*command(place, "restore", f"--data-dir={new}"))
    assert done.returncode != 0
    assert {path.name for path in new.iterdir()} <= {"keys", "serve.lock", "api", "fleet"}
    assert (new / "keys").read_text() == "no folder"
    (new / "keys").unlink()
    done = run_cenote(*command(place, "restore", f"--data-dir={new}"))
    assert done.returncode == 0, done.stderr
    assert not list(new.glob("before-*"))


def test_a_restore_that_is_killed_at_any_moment_is_complete_after_another(place: Path) -> None:
    with service() as running:
        running.cenote(*command(place, "backup"))
    for number, seconds in enumerate((0.5, 0.7, 0.9, 1.1, 1.3, 1.6)):
        new = place / str(number)
        restore = command(place, "restore", f"--data-dir={new}")
        with subprocess.Popen([CENOTE, *restore], env=clean_environment()) as process:
            time.sleep(seconds)
            process.kill()
        done = run_cenote(*restore)
        assert done.returncode == 0 or "has a service already" in done.stderr, done.stderr
        assert (new / "host.json").exists()
        assert not (new / "restoring").exists()
        assert processes.below(new) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="changes of owners need root")
def test_a_directory_of_another_user_is_refused(place: Path) -> None:
    with service() as running:
        running.cenote(*command(place, "backup"))
    (place / "new").mkdir()
    os.chown(place / "new", 65534, 65534)
    done = run_cenote(*command(place, "restore", f"--data-dir={place / 'new'}"))
    assert f"{place / 'new'} belongs to another user; run this as that user" in done.stderr
    os.chown(place / "passphrase", 65534, 65534)
    done = run_cenote(*command(place, "show"))
    assert "belongs to another user, who could change it" in done.stderr
    assert list((place / "new").iterdir()) == []


def test_a_fleet_comes_back_as_the_host_that_has_made_the_backup(place: Path) -> None:
    with fleet(2, joined=True) as hosts:
        first, second = hosts.hosts
        with first.client() as client:
            here = online_cluster(client, "here", cenote={"host": "host-1"})
            there = online_cluster(client, "there", cenote={"host": "host-2"})
        assert second.run(*command(place, "backup")).returncode == 0, "any host with the role api does it"
        first.cenote(*command(place, "backup", "--force"))
        for host in (first, second):
            host.lose()
        ports = (f"--ports={first.first_port}-{first.api_port - 1}", f"--port={first.api_port}")
        new = FleetHost(place / "new", 1, *ports, fleet_port=first.fleet_port)
        try:
            new.cenote(*command(place, "restore"))
            subprocess.run(["cp", "-a", first.data_dir / "clusters", new.data_dir], check=True)
            new.start()
            wait_until("its own cluster is back", 60, lambda: tried(here["connection"]["uri"]) == 42)
            with new.client() as client:
                states = {"host-1": "up", "host-2": "down"}
                wait_until("the other one is down", 60, lambda: states_of(client) == states)
                assert "host host-2 does not answer" in shown(client, there["id"])["cenote"]["reason"]
                new.cenote("host", "remove", "host-2", "--lost", "--yes")
                assert list(states_of(client)) == ["host-1"]
                assert "its host was removed" in shown(client, there["id"])["cenote"]["reason"]
                client.request("DELETE", f"/v2/databases/{there['id']}")
                assert shown(client, here["id"])["cenote"]["health"] == "healthy"
            [member] = json.loads(new.cenote("store", "status", "--output=json"))
            assert (member["host"], member["kind"]) == ("host-1", "leads")
            hosts.hosts = [new, second]
            third = hosts.add()
            assert "host-3" in third.cenote("host", "list"), "a new host can join"
        finally:
            new.clean_up()


def states_of(client: Any) -> dict[str, str]:
    return {host["name"]: host["state"] for host in client.request("GET", "/v2/cenote/hosts")["hosts"]}
