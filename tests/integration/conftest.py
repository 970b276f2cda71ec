"""Servers that the tests of a module share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from cenote.model.timing import Timing
from cenote_client import Client
from tests.support.agent import Agents, running_agents
from tests.support.browser import chromium
from tests.support.console import Visitor, visitor
from tests.support.lab import Share, shared_lab
from tests.support.service import Service, calling, online_cluster, service


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest) -> Iterator[Service]:
    """A service; the mark ``service`` of a module holds its options."""
    marker = request.node.get_closest_marker("service")
    options, how = (marker.args, marker.kwargs) if marker else ((), {})
    with service(*options, **how) as started:
        yield started


@pytest.fixture(scope="module")
def client(running: Service) -> Iterator[Client]:
    """A client of that service, with the administrator's token."""
    with running.client() as created:
        yield created


@pytest.fixture
def http(running: Service) -> Iterator[httpx.Client]:
    """A plain client of it, which shows every answer as it is."""
    with calling(running) as created:
        yield created


@pytest.fixture(scope="module")
def cluster(client: Client) -> Any:
    """A cluster of that service, without pools."""
    return online_cluster(client, "backend")


@pytest.fixture
def somebody(running: Service) -> Iterator[Visitor]:
    """Somebody at the console of that service, not signed in."""
    with visitor(running) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def timing(request: pytest.FixtureRequest) -> Timing:
    """The intervals of ``labs`` and ``agents``; the mark ``timing`` of a module holds those that differ."""
    marker = request.node.get_closest_marker("timing")
    return Timing(**marker.kwargs) if marker else Timing()


@pytest.fixture(scope="module")
def labs(timing: Timing) -> Iterator[Share]:
    """A host without a service."""
    yield from shared_lab(timing)


@pytest.fixture(scope="module")
def agents(timing: Timing) -> Iterator[Agents]:
    """An agent at work on a store, without an API."""
    yield from running_agents(timing)
