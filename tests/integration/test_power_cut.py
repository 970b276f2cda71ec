"""What a power cut leaves: files without content, or with a part of it, and nothing that runs."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cenote.host import processes
from tests.support.power import KEYS, LASTING, Machine
from tests.support.service import Service, added_pool, answer_of, online_cluster, tried
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def uris(running: Service) -> tuple[str, ...]:
    """The connection strings of two clusters and their pools."""
    with running.client() as client:
        found: list[str] = []
        for name in ("one", "two"):
            cluster = online_cluster(client, name)
            pool = added_pool(client, cluster["id"], "pool")
            found += [cluster["connection"]["uri"], pool["connection"]["uri"]]
    return tuple(found)


@pytest.fixture
def machine(running: Service, uris: tuple[str, ...]) -> Iterator[Machine]:
    """The machine after the cut; afterwards the service is up, with all that it had."""
    cut = Machine(running)
    cut.off()
    yield cut
    assert_all_is_there(running, uris)


def assert_all_is_there(running: Service, uris: tuple[str, ...]) -> None:
    for uri in uris:
        wait_until(
            f"there is an answer from {uri.partition('@')[2]}", 60, functools.partial(is_answering, uri)
        )
    with running.client() as client:
        names = {cluster["name"] for cluster in client.databases.iter_clusters()}
        assert {"one", "two"} <= names
        added_pool(client, next(client.databases.iter_clusters())["id"], f"pool-{os.urandom(3).hex()}")


def test_every_file_that_can_be_made_again_is_made_again(machine: Machine) -> None:
    emptied = [path for path in machine.files() if machine.name(path) not in LASTING and machine.empty(path)]
    names = {path.name for path in emptied}
    some = {"ca.crt", "api.pem", "admin-token", "address", "host.json", "etcd.pid", "serve.lock", "etcd-api"}
    others = {
        "pgbouncer.pid",
        "postmaster.pid",
        "pgbouncer.loaded",
        "server.pem",
        "pgbouncer.ini",
        "pg_hba.conf",
    }
    assert names >= some | others | {"postgresql.conf", "userlist.txt"}
    assert any(name.startswith(".s.PGSQL.") and name.endswith(".lock") for name in names)
    machine.on()


def test_a_part_of_a_file_is_not_taken_for_the_whole(machine: Machine) -> None:
    for path in machine.files():
        if machine.name(path) not in (*LASTING, "host.json", "keys/host.key"):
            machine.halve(path)
    machine.on()


@pytest.mark.parametrize("name", [*KEYS, "host.json"])
def test_a_key_that_is_lost_is_named_with_the_remedy(machine: Machine, name: str) -> None:
    path, before = machine.data_dir / name, machine.log()
    content = path.read_bytes()
    os.truncate(path, len(content) // 2 if name == "host.json" else 0)
    try:
        assert machine.refused() == 1
        told = machine.log().removeprefix(before)
        assert str(path) in told
        assert "restore" in told
        assert "Traceback" not in told
    finally:
        path.write_bytes(content)
    machine.on()


def test_the_keys_that_are_there_twice_are_lost_only_twice(machine: Machine) -> None:
    one, other = machine.data_dir / "keys/host.key", machine.data_dir / "api/host.key"
    content = one.read_bytes()
    os.truncate(one, 0)
    os.truncate(other, 0)
    assert machine.refused() == 1
    assert "holds no key; restore the file" in machine.log()
    other.write_bytes(content)
    machine.on()
    assert one.read_bytes() == other.read_bytes() == content


def test_servers_that_no_file_names_any_longer_are_not_doubled(
    running: Service, uris: tuple[str, ...]
) -> None:
    """Their pid files and stamps are emptied while they work and the service does not."""
    running.end()
    cluster = next(iter(sorted((running.data_dir / "clusters").iterdir())))
    lone = [cluster / "pgbouncer/pgbouncer.pid", cluster / "pg/postmaster.pid", *cluster.glob("*.loaded")]
    for path in lone:
        os.truncate(path, 0)
    running.start()
    wait_until("every file names a process again", 60, lambda: all(map(has_content, lone)))
    assert_all_is_there(running, uris)
    for part, program in (("pgbouncer", "pgbouncer"), ("pg", "postgres")):
        found = processes.below(cluster / part, program)
        heads = [process for process in found if parent_of(process.pid) not in {one.pid for one in found}]
        assert len(heads) == 1, part


def test_an_etcd_that_no_file_names_is_stopped_with_the_others(
    running: Service, uris: tuple[str, ...]
) -> None:
    running.end()
    os.truncate(running.data_dir / "etcd/etcd.pid", 0)
    running.stop()
    assert processes.below(running.data_dir) == []
    running.start()
    assert_all_is_there(running, uris)


def has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def parent_of(pid: int) -> Any:
    fields = processes.stat_fields(pid)
    return None if fields is None else int(fields[1])


def test_a_new_cluster_after_all_that(running: Service) -> None:
    with running.client() as client:
        assert answer_of(online_cluster(client, "three")["connection"]["uri"]) == 42


def is_answering(uri: str) -> bool:
    return bool(tried(uri) == 42)
