"""A real Prometheus, configured by monitoring/, discovers clusters, scrapes them and fires alerts."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from cenote_client import Client
from tests.support.ports import free_range
from tests.support.prometheus import MONITORING, program, promtool
from tests.support.scraping import Scraper
from tests.support.service import Service, added_pool, calling, online_cluster
from tests.support.waiting import wait_until

POOL = "busy-pool"
# As it is, but every second, so that the test is over soon.
FASTER = {"15s": "1s", "30s": "1s", "60s": "1s", "[1m]": "[5s]", "for: 1m": "for: 1s", "for: 2m": "for: 1s"}


@pytest.fixture(scope="module")
def cluster(client: Client) -> Any:
    cluster = online_cluster(client, "shop")
    return cluster | {"pool": added_pool(client, cluster["id"], POOL, size=1)}


@pytest.fixture(scope="module")
def folder(running: Service, client: Client, cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of monitoring/, and beside them what prometheus.yml asks for."""
    folder = tmp_path_factory.mktemp("prometheus")
    for name in ("prometheus.yml", "alerts.yml"):
        text = (MONITORING / name).read_text().replace("localhost:8443", f"localhost:{running.api_port}")
        for slow, fast in FASTER.items():
            text = text.replace(slow, fast)
        (folder / name).write_text(text)
    shutil.copy(running.data_dir / "ca.crt", folder / "cenote-ca.crt")
    token = running.cenote("token", "create", "prometheus", "--scope", "database:read")
    (folder / "cenote-token").write_text(re.findall(r"cenote_v1_\w+", token)[0])
    login = client.request("GET", "/v2/databases/metrics/credentials")["credentials"]
    assert login["basic_auth_username"] == "metrics"  # as prometheus.yml has it
    (folder / "metrics-password").write_text(login["basic_auth_password"])
    fetch_authorities(running, folder)
    return folder


@pytest.fixture(scope="module")
def prometheus(folder: Path) -> Iterator[httpx.Client]:
    port = free_range(2)
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=20) as http:
            wait_until("Prometheus answers", 60, lambda: answers(http))
            yield http
    except BaseException:
        sys.stderr.write((folder / "prometheus.log").read_text()[-4000:])
        raise
    finally:
        process.terminate()
        process.wait(timeout=60)


def fetch_authorities(running: Service, folder: Path) -> None:
    """As an operator does whenever there is a new cluster."""
    with calling(running) as http:
        answer = http.get("/v2/cenote/metrics_ca")
    assert answer.status_code == 200
    written = folder / "clusters-ca.new"
    written.write_text(answer.text)
    os.replace(written, folder / "clusters-ca.crt")


def answers(http: httpx.Client) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return http.get("/status/buildinfo").status_code == 200
    return False


def query(http: httpx.Client, expression: str) -> list[Any]:
    body = http.get("/query", params={"query": expression}).json()
    assert body["status"] == "success", f"{expression}: {body}"
    return list(body["data"]["result"])


def value(http: httpx.Client, expression: str) -> float | None:
    """Return what an expression of one series is, None while there is none."""
    found = query(http, expression)
    return float(found[0]["value"][1]) if found else None


def test_the_service_and_every_cluster_are_discovered_and_scraped(
    running: Service, client: Client, prometheus: httpx.Client, folder: Path
) -> None:
    for instance in (f"localhost:{running.api_port}", "shop"):
        expression = f'up{{instance="{instance}"}}'
        wait_until(f"{instance} is read", 60, lambda: value(prometheus, expression) == 1)  # noqa: B023
    assert value(prometheus, 'cenote_server_up{cluster="shop"}') == 1
    assert value(prometheus, 'cenote_clusters{status="online"}') == 1

    another = online_cluster(client, "later")
    fetch_authorities(running, folder)
    wait_until("another cluster is read", 60, lambda: value(prometheus, 'up{instance="later"}') == 1)
    client.request("DELETE", f"/v2/databases/{another['id']}")
    wait_until("it is looked for no more", 60, lambda: "later" not in targets(prometheus))


def targets(prometheus: httpx.Client) -> set[str]:
    active = prometheus.get("/targets").json()["data"]["activeTargets"]
    return {target["labels"]["instance"] for target in active}


def test_an_alert_fires_while_clients_wait_and_no_longer(prometheus: httpx.Client, cluster: Any) -> None:
    uri = cluster["pool"]["connection"]["uri"]
    with contextlib.ExitStack() as stack:
        holder = stack.enter_context(psycopg.connect(uri, autocommit=True))
        holder.execute("BEGIN")
        waiting = psycopg.connect(uri, autocommit=True)
        stack.callback(waiting.close)
        waiting.pgconn.send_query(b"SELECT 1")
        waiting.pgconn.flush()
        [alert] = wait_until("the alert fires", 60, lambda: firing(prometheus, "CenotePoolClientsWait"))
        assert alert["labels"]["pool"] == POOL
        assert alert["annotations"]["summary"].startswith(f"Clients of pool {POOL} of shop waited up to ")
        holder.execute("COMMIT")
    wait_until("all is well", 60, lambda: not firing(prometheus, "CenotePoolClientsWait"))


def firing(prometheus: httpx.Client, name: str) -> list[Any]:
    found = prometheus.get("/alerts").json()["data"]["alerts"]
    return [one for one in found if one["labels"]["alertname"] == name and one["state"] == "firing"]


def test_every_query_of_the_dashboard_has_a_result(prometheus: httpx.Client, cluster: Any) -> None:
    with psycopg.connect(cluster["pool"]["connection"]["uri"], autocommit=True) as connection:
        connection.execute("SELECT 1")
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    chosen = {
        "$cluster": "shop",
        "$pool": POOL,
        "$database": "defaultdb",
        "$host": ".*",
        "$__rate_interval": "30s",
    }

    def unanswered() -> list[str]:
        empty = []
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                expression = target["expr"]
                for name, text in chosen.items():
                    expression = expression.replace(name, text)
                has_none = any(name in expression for name in ("slot", "online_migration"))
                if not has_none and not query(prometheus, expression):
                    empty.append(expression)
        return empty

    wait_until("every panel shows something", 60, lambda: not unanswered())


@pytest.mark.parametrize("which", ["cluster", "service"])
def test_promtool_accepts_the_pages(running: Service, client: Client, cluster: Any, which: str) -> None:
    if which == "cluster":
        text = Scraper(client, cluster).get().text
    else:
        with calling(running) as http:
            text = http.get("/metrics").text
    done = promtool("check", "metrics", text=text)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
