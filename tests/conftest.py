"""What holds for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.api import Apis, running_apis

# How long an example takes says more of what else the machine does than of what is tested.
settings.register_profile("cenote", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("cenote")


@pytest.fixture(scope="module")
def apis() -> Iterator[Apis]:
    """An API in this process, on an etcd that the tests of a module share."""
    yield from running_apis()
