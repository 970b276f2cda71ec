"""Roles that a host cannot be started with are refused in words, and nothing is changed by that."""

from __future__ import annotations

from pathlib import Path

from cenote.model.fleet_ports import COUNT
from cenote.model.paths import Layout
from tests.support.fleet import FleetHost
from tests.support.folders import server_folder
from tests.support.ports import free_range


def refusal(host: FleetHost, roles: str) -> str:
    host._options = (*host._options_of(host.command), f"--roles={roles}")
    before = len(host.log())
    assert host.launch().wait(timeout=60) == 1
    host._options = host._options_of(host.command)
    said = host.log()[before:]
    assert "Traceback" not in said
    return said


def made(folder: Path) -> FleetHost:
    folder.chmod(0o711)
    return FleetHost(folder, 1, fleet_port=free_range(COUNT), clusters=2)


def test_a_host_keeps_its_api_and_the_only_etcd_that_votes() -> None:
    with server_folder() as folder:
        host, layout = made(folder), Layout(folder)
        said = refusal(host, "api,database")
        assert "without the role store this host has no etcd, and no store of other hosts is known" in said
        assert not layout.identity.exists()
        try:
            host.start()
            host.end()
            known = layout.identity.read_bytes()
            assert "no etcd of another host votes" in refusal(host, "api,database")
            assert "has the role api, and cannot give it up" in refusal(host, "database,store")
            assert layout.identity.read_bytes() == known
            members = layout.members.read_bytes()
            layout.members.unlink()
            assert "no member of a store that others share" in host.run("store", "recover", "--yes").stderr
            layout.members.write_bytes(members)
            assert "the store is not lost" in host.run("store", "recover", "--yes").stderr
            host.start()
        finally:
            host.clean_up()
