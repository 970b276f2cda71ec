"""The options of ``cenote serve``: networks open to log sinks, and rate limits."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from cenote.cli.serve import serve_options
from cenote.server.settings import ServeSettings


@click.command()
@serve_options
def show(settings: ServeSettings) -> None:
    click.echo(" ".join(map(str, settings.log_sink_allow)))


def test_nothing_of_this_host_is_open_to_log_sinks_by_itself() -> None:
    assert CliRunner().invoke(show, []).output == "\n"


def test_networks_are_opened_by_options_or_by_the_environment() -> None:
    shown = CliRunner().invoke(show, ["--log-sink-allow=127.0.0.1", "--log-sink-allow=fd00::1/64"])
    assert shown.output == "127.0.0.1/32 fd00::/64\n"
    shown = CliRunner().invoke(show, [], env={"CENOTE_LOG_SINK_ALLOW": "10.0.0.0/8 ::1"})
    assert shown.output == "10.0.0.0/8 ::1/128\n"


@pytest.mark.parametrize("text", ["localhost", "127.0.0.1/33", "", "127.0.0.1,::1"])
def test_what_is_no_network_is_refused(text: str) -> None:
    shown = CliRunner().invoke(show, [f"--log-sink-allow={text}"])
    assert shown.exit_code == 2
    assert "is not a network such as 127.0.0.1/32" in shown.output


@click.command()
@serve_options
def limits(settings: ServeSettings) -> None:
    click.echo("{} {}".format(*settings.rate_limits))


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ("", "100000 0"),
        ("--host=127.0.0.1", "100000 0"),
        ("--host=127.8.8.8", "100000 0"),
        ("--host=::1", "100000 0"),
        ("--host=0.0.0.0", "5000 250"),
        ("--host=::", "5000 250"),
        ("--host=192.0.2.1", "5000 250"),
        ("--host=192.0.2.1 --requests-per-minute=0", "5000 0"),
        ("--host=192.0.2.1 --requests-per-hour=0", "0 250"),
        ("--requests-per-minute=250", "100000 250"),
        ("--requests-per-hour=0 --requests-per-minute=0", "0 0"),
    ],
)
def test_rate_limits_are_by_where_the_api_listens_unless_they_are_given(options: str, shown: str) -> None:
    assert CliRunner().invoke(limits, options.split()).output == f"{shown}\n"


def test_a_negative_rate_limit_is_refused() -> None:
    assert CliRunner().invoke(limits, ["--requests-per-minute=-1"]).exit_code == 2
