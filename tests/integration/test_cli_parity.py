"""What the API does, the command line does: every command once on a real service, with ``-o json``.

The service counts the calls of each operation; one that no command has called stands here with the reason.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from cenote.api.app import OPERATIONS
from cenote.api.unsupported import ROUTES as UNSUPPORTED
from cenote.model.fleet_ports import COUNT
from tests.support.cli_commands import leaves
from tests.support.ports import free_range
from tests.support.service import CENOTE, Service, calling, clean_environment, service

# Every command, in an order in which what it needs is there.
SCENARIO = """
options
host list
host drain {host}
host undrain {host}
host unknown list
host trash list
host trash empty --yes
host token --roles database
host tokens
host revoke-token --all
cluster create backend --tag web --storage-mib 10240
cluster list
cluster get backend
cluster nodes backend
cluster config backend
cluster config backend work_mem=16 pgbouncer.server_idle_timeout=60
cluster maintenance backend --day friday
cluster autoscale backend --increment 20
cluster hostnames backend db.example.com
cluster migrate backend fra1
cluster resize backend db-s-1vcpu-2gb
cluster install-update backend
cluster logs backend --lines 5
user create backend app --access readonly
user update backend app --access readwrite --replication
user list backend
user get backend app
user reset backend app
db create backend orders --owner app
db list backend
db get backend orders
pool create backend web --size 3 --db orders --user app
pool update backend web --size 4
pool list backend
pool get backend web
pool stats backend
pool stats backend web
pool reconnect backend web
pool reconnect backend --all
pool history backend web
pool advice backend
firewall add backend 127.0.0.0/8
firewall list backend
firewall remove backend 127.0.0.0/8 --yes
logsink create backend central --server 192.0.2.1 --port 6514 --tls
logsink list backend
logsink get backend central
logsink update backend central --port 6515
logsink delete backend central --yes
tag create blue
tag add blue backend
tag list
tag get blue
tag remove blue backend
tag delete blue --yes
project create shop
project list
project get shop
project update shop --purpose selling
project assign shop backend
project clusters shop
project assign default backend
project delete shop --yes
vpc create inner --region nyc1
vpc list
vpc get inner
vpc update inner --description mine
vpc delete inner --yes
metrics login
metrics login --user prometheus < a-long-password
metrics targets
ca backend
uri backend --pool web
env
events backend
audit backend
token create deploy
token list
token current
token revoke deploy
keys list
keys rotate --ring api
replica create backend reports
replica list backend
replica get backend reports
replica resize backend reports db-s-2vcpu-4gb
replica delete backend reports --yes
replica create backend copied --no-wait
replica promote backend copied --yes
cluster delete copied --purge --yes
cluster fork backend copy
cluster delete copy --purge --yes
pool delete backend web --yes
db delete backend orders --yes
user delete backend app --yes
cluster protect backend
cluster unprotect backend
cluster undelete-days backend 3
cluster undelete-days backend default
cluster delete backend --yes
cluster deleted
cluster undelete backend --name again
cluster delete again --purge --yes
"""

PLAIN = {
    "cenote host remove": "needs another host, see test_fleet_hosts.py",
    "cenote backup list": "needs a service that keeps backups; see test_backups.py",
    "cenote backup drill": "needs a service that keeps backups; see test_restore_drills.py",
    "cenote backup now": "needs a service that keeps backups; see test_backups.py",
    "cenote cluster upgrade": "needs another version of PostgreSQL; see test_major_upgrade.py",
    "cenote cluster switchover": "needs another node; see test_fleet_nodes.py",
    "cenote cluster move": "needs another host; see test_fleet_moves.py",
    "cenote cluster recover": "needs backups and another host; see test_fleet_recovery.py",
    "cenote completion": "prints a script for a shell",
    "cenote doctor": "a report for people, with an exit code",
    "cenote db import": "has its own report, see test_db_import.py",
    "cenote host unknown remove": "wants something unknown; test_serve_sweep.py has it",
    "cenote migrate start": "needs another server; test_online_migration.py has it",
    "cenote migrate status": "needs another server; test_online_migration.py has it",
    "cenote migrate finish": "needs another server; test_online_migration.py has it",
    "cenote migrate stop": "needs another server; test_online_migration.py has it",
    "cenote pool top": "draws on a terminal until Ctrl-C; pool stats has the numbers",
    "cenote psql": "becomes psql",
    "cenote quickstart": "runs a service",
    "cenote run": "runs a command",
    "cenote serve": "runs a service",
    "cenote service backup": "reads etcd and files, without the API; test_service_backup.py has it",
    "cenote service restore": "makes a data directory; test_service_backup.py has it",
    "cenote service show": "reads a file; test_service_backup.py has it",
    "cenote stop": "ends a service",
    "cenote store recover": "starts a store anew; test_store_fleet.py has it",
    "cenote store replace": "wants a member whose disk is lost; test_store_fleet.py has it",
    "cenote store status": "asks etcd, not the API; test_store_fleet.py has it",
    "cenote trust": "a change of this machine, without the API",
}

# Operations that no command needs.  Some are of a version of the API that may come.
WITHOUT_COMMAND = {
    "POST /v2/databases/{}/upgrade/rehearsal": "cluster upgrade --rehearse, which needs another version",
    "PUT /v2/databases/{}/upgrade": "cluster upgrade, which needs another version of PostgreSQL",
    "PUT /v2/databases/{}/online-migration": "needs another server; see test_online_migration.py",
    "GET /v2/databases/{}/online-migration": "needs another server; see test_online_migration.py",
    "DELETE /v2/databases/{}/online-migration/{}": "needs another server; see test_online_migration.py",
    "POST /v2/databases/{}/online-migration/{}/finish": "needs another server; see test_online_migration.py",
    "DELETE /v2/databases/{}/switchover": "cluster switchover --cancel, which needs another node",
    "POST /v2/databases/{}/switchover": "cluster switchover, which needs another node",
    "DELETE /v2/databases/{}/move": "cluster move --cancel, which needs another host",
    "GET /v2/account": "what other clients display; token current shows the token",
    "DELETE /v2/cenote/hosts/{}": "host remove needs another host, see test_fleet_hosts.py",
    "GET /v2/cenote/activity": "the sums that the console's list shows; pool stats has the numbers",
    "GET /v2/cenote/metrics_ca": "a file for Prometheus' configuration; cenote ca prints each certificate",
    "GET /v2/databases/{}/pool_stats/stream": "a stream for pages; pool top asks again instead",
    "GET /v2/vpcs/{}/members": "only clusters; cluster get -o json has the VPC of each",
    "PATCH /v2/vpcs/{}": "vpc update calls PUT, which does the same",
    "GET /v2/databases/{}/backups": "backup list, which needs a service that keeps backups",
    "POST /v2/databases/{}/backups/drills": "backup drill, which needs a service that keeps backups",
    "POST /v2/databases/{}/backups": "backup now, which needs a service that keeps backups",
    "POST /v2/databases/{}/move": "cluster move, which needs another host",
    "GET /v2/databases/{}/recover": "cluster recover, which needs backups and another host",
    "POST /v2/databases/{}/recover": "cluster recover, which needs backups and another host",
    "PUT /v2/projects/{}": "project update calls PATCH, which changes only what is given",
}


@pytest.fixture(scope="module")
def seen() -> Iterator[dict[str, Any]]:
    """What each line printed, with the calls that the service has counted in the end, as ``calls``."""
    with service("--address=127.0.0.1", f"--fleet-port={free_range(COUNT)}") as running:
        found: dict[str, Any] = {}
        [host] = json.loads(_typed(running, "host list").stdout)
        for line in filter(None, SCENARIO.splitlines()):
            found[line] = _typed(running, line.replace("{host}", host["name"]))
        with calling(running) as http:
            page = http.get("/metrics").text
        found["calls"] = set(
            re.findall(
                r'^cenote_api_requests_total\{method="(\w+)",path="([^"]+)",status="2\d\d"\}', page, re.M
            )
        )
        yield found


def _typed(running: Service, line: str) -> subprocess.CompletedProcess[str]:
    command, _, typed = line.partition(" < ")
    return subprocess.run(
        [CENOTE, *shlex.split(command), "-o", "json"],
        input=f"{typed}\n",
        capture_output=True,
        text=True,
        env=clean_environment() | {"CENOTE_DATA_DIR": str(running.data_dir)},
        check=False,
        timeout=120,
    )


def commands() -> set[str]:
    return {path for path, _ in leaves()}


@pytest.mark.parametrize("line", [line for line in SCENARIO.splitlines() if line])
def test_a_command_prints_json_and_nothing_else(seen: dict[str, Any], line: str) -> None:
    done = seen[line]
    assert done.returncode == 0, done
    assert isinstance(json.loads(done.stdout), list | dict)
    for remark in done.stderr.splitlines():
        assert set(json.loads(remark)) == {"note"}


def test_every_command_is_one_of_these() -> None:
    typed = {
        path
        for path in commands()
        for line in SCENARIO.splitlines()
        if f"cenote {line} ".startswith(f"{path} ")
    }
    assert commands() - typed == set(PLAIN)


def test_every_operation_has_a_command_or_a_reason_why_not(seen: dict[str, Any]) -> None:
    called = {f"{method} {_short(path)}" for method, path in seen["calls"]}
    unsupported = {f"{route.method} {_short(route.path)}" for route in UNSUPPORTED}
    there = {f"{route.method} {_short(route.path)}" for route in OPERATIONS}
    assert there - unsupported - called == there & set(WITHOUT_COMMAND)


def _short(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)
