"""The networks open to log sinks, from the options of ``cenote serve`` and the environment."""

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
