"""What holds for all tests."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support import coverage_report, folders, order, skips, tls_sockets, waiting
from tests.support.api import Apis, running_apis

# How long an example takes says more of what else the machine does than of what is tested.
settings.register_profile("cenote", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("cenote")


# Tests start hundreds of Python programs, each of which would otherwise compile all of the package.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


# A shell starts commands in the background with SIGINT ignored, and nohup(1) ignores SIGHUP.  Programs that
# the tests start would inherit that.
for _number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)


tls_sockets.close_when_reset()

# CI runs four tests at a time on two processors, beside whatever else its machine has to do.
waiting.patience = 4.0


def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        folders.sweep()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order.fast_first(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> order.Scheduling:
    return order.Scheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if terminalreporter.config.getoption("cov_report", None) and coverage_report.REPORT.exists():
        terminalreporter.write_sep("=", "coverage")
        for line in coverage_report.lines():
            terminalreporter.write_line(line)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if skips.are_checked():
        skips.check(report)
    return report


@pytest.fixture(scope="module")
def apis() -> Iterator[Apis]:
    """An API in this process, on an etcd that the tests of a module share."""
    yield from running_apis()
