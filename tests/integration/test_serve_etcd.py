"""``--etcd``: the records are in an etcd of somebody else's, which the service neither starts nor stops."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

from tests.support.folders import server_folder
from tests.support.outside import PASSWORD, Outside, outside_etcd
from tests.support.service import (
    added_pool,
    answer_of,
    online,
    online_cluster,
    run_cenote,
    service,
)
from tests.support.waiting import wait_until


def with_outside(scenario: Callable[[Outside], None]) -> None:
    async def whole() -> None:
        async with outside_etcd() as outside:
            await asyncio.to_thread(scenario, outside)

    asyncio.run(whole())


def options(outside: Outside) -> tuple[str, ...]:
    """The first address leads nowhere, as that of a member that is down."""
    return (
        f"--etcd={outside.dead_url}",
        f"--etcd={outside.url}",
        f"--etcd-ca={outside.certificate}",
        f"--etcd-cert={outside.certificate}",
        f"--etcd-key={outside.key}",
        "--etcd-user=root",
    )


def test_a_service_on_an_outside_etcd_starts_none_and_leaves_it_running() -> None:
    def scenario(outside: Outside) -> None:
        password = {"CENOTE_ETCD_PASSWORD": PASSWORD}
        with service(*options(outside), environment=password) as running, running.client() as client:
            cluster = online_cluster(client, "outside")
            uri = added_pool(client, cluster["id"], "kept")["connection"]["uri"]
            assert answer_of(uri) == 42
            before = running.servers()
            assert set(before) == {"PostgreSQL", "PgBouncer"}
            assert not (running.data_dir / "etcd").exists()
            arguments = Path(f"/proc/{running.pid}/cmdline").read_text()
            assert PASSWORD not in arguments
            assert PASSWORD not in running.log()

            running.end(signal.SIGKILL)
            running.start()
            assert running.servers() == before
            assert online(client, cluster["id"])["connection"] == cluster["connection"]

            running.stop()
            assert running.servers() == {}
            running.start()
            wait_until("the cluster is back", 60, lambda: len(running.servers()) == 2)
            online(client, cluster["id"])
            client.databases.destroy_cluster(cluster["id"])
            wait_until("nothing is left of the cluster", 30, lambda: not running.remains())

    with_outside(scenario)


def test_a_password_that_etcd_refuses_is_told_in_one_line_without_it() -> None:
    def scenario(outside: Outside) -> None:
        with server_folder() as folder:
            refused = run_cenote(
                *("serve", f"--data-dir={folder}", "--port=0", *options(outside)),
                CENOTE_ETCD_PASSWORD="not the password",
            )
            assert (refused.returncode, refused.stdout) == (1, "")
            assert "etcd refused" in refused.stderr
            assert "not the password" not in refused.stderr
            assert len(refused.stderr.splitlines()) == 1

    with_outside(scenario)


def test_an_etcd_that_is_not_there_is_told_in_one_line() -> None:
    with server_folder() as folder:
        refused = run_cenote("serve", f"--data-dir={folder}", "--port=0", "--etcd=http://127.0.0.1:1")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "http://127.0.0.1:1" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
