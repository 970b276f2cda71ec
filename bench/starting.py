"""The time from the start of ``cenote serve`` until it answers, with ten clusters that run already."""

from __future__ import annotations

import http.client
import ssl
import time
from urllib.parse import urlsplit

from bench.row import Row
from tests.support.service import WITHOUT_LIMITS, Service, online, online_cluster, service

CLUSTERS, RUNS = 10, 9
PAUSE = 0.001


def measure() -> list[Row]:
    with service(*WITHOUT_LIMITS, on_disk=True) as running, running.client() as client:
        ids = [online_cluster(client, f"cluster-{number}")["id"] for number in range(CLUSTERS)]
        starts = []
        for _ in range(RUNS):
            running.end()
            starts.append(first_answer(running, ids[0]))
            for id in ids:
                online(client, id)
    return [Row(f"from start of the service to first answer, {CLUSTERS} clusters", "ms", starts)]


def first_answer(running: Service, cluster: str) -> float:
    """Start the service and return the milliseconds until it shows this cluster."""
    exported = running.environment()
    address = urlsplit(exported["DIGITALOCEAN_API_URL"])
    context = ssl.create_default_context(cafile=exported["SSL_CERT_FILE"])
    headers = {"authorization": f"Bearer {exported['DIGITALOCEAN_TOKEN']}"}
    began = time.perf_counter()
    running.launch()
    while True:
        connection = http.client.HTTPSConnection(address.netloc, context=context, timeout=60)
        try:
            connection.request("GET", f"/v2/databases/{cluster}", headers=headers)
            if connection.getresponse().status == http.client.OK:
                return (time.perf_counter() - began) * 1000
        except OSError:
            pass  # not up yet
        finally:
            connection.close()
        if time.perf_counter() - began > 60:
            raise RuntimeError(f"the service does not answer:\n{running.log()[-4000:]}")
        time.sleep(PAUSE)
