"""Scraping metrics as Prometheus does: by host and port, with the cluster's CA and the login."""

from __future__ import annotations

import base64
import contextlib
import ssl
from collections.abc import Iterator
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from cenote_client import Client

Samples = dict[str, dict[frozenset[tuple[str, str]], float]]


def samples(text: str) -> Samples:
    """Return the value of each sample, by its name and then by its labels."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert family.documentation, f"{family.name} has no help"
            assert family.type != "unknown", f"{family.name} has no type"
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    """Return the one sample of a name that has these labels, whatever others it has besides."""
    [one] = [number for given, number in found.get(name, {}).items() if labels.items() <= dict(given).items()]
    return one


class Scraper:
    """A client of one cluster's metrics."""

    def __init__(self, client: Client, cluster: Any) -> None:
        path = f"/v2/databases/{cluster['id']}"
        [endpoint] = client.request("GET", path)["database"]["metrics_endpoints"]
        self.port = endpoint["port"]
        self.url = f"https://{endpoint['host']}:{self.port}/metrics"
        encoded = client.request("GET", f"{path}/ca")["ca"]["certificate"]
        self.context = ssl.create_default_context(cadata=base64.b64decode(encoded).decode())
        login = client.request("GET", "/v2/databases/metrics/credentials")["credentials"]
        self.login = (login["basic_auth_username"], login["basic_auth_password"])

    def get(self, method: str = "GET", **given: Any) -> httpx.Response:
        with self.http() as http:
            return http.request(method, given.pop("url", self.url), **given)

    @contextlib.contextmanager
    def http(self) -> Iterator[httpx.Client]:
        with httpx.Client(verify=self.context, auth=self.login, timeout=30) as http:
            yield http

    def samples(self) -> Samples:
        answer = self.get()
        assert answer.status_code == 200, answer.text
        return samples(answer.text)

    def answers(self) -> bool:
        try:
            return self.get().status_code == 200
        except httpx.TransportError:
            return False
