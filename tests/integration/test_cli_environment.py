"""Which service a command is for, and with which token: combinations of the environment and ``--data-dir``.

A token without an address, or an address without a token, is refused, and so is a token for another kind of
service; nothing is sent then, and this machine's administrator does not act instead.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from itertools import product

import pytest

from tests.support.service import Service, exports_of, run_cenote

URL, TOKEN, ACCESS_TOKEN = "DIGITALOCEAN_API_URL", "DIGITALOCEAN_TOKEN", "DIGITALOCEAN_ACCESS_TOKEN"
HOSTED = "dop_v1_" + "0" * 64


@contextlib.contextmanager
def listening() -> Iterator[tuple[str, socket.socket]]:
    """Yield the address of a server that has to stay without a connection, and its socket."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield f"http://127.0.0.1:{server.getsockname()[1]}", server


def refusal(*arguments: str, **environment: str) -> str:
    done = run_cenote(*arguments, **environment)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done
    return done.stderr


@pytest.mark.parametrize("name", [TOKEN, ACCESS_TOKEN])
@pytest.mark.parametrize("token", [HOSTED, "cenote_v1_x", "x", " "])
@pytest.mark.parametrize("empty", [False, True])
def test_a_token_without_an_address_does_nothing(
    running: Service, name: str, token: str, empty: bool
) -> None:
    here = {"CENOTE_DATA_DIR": str(running.data_dir), name: token} | ({URL: ""} if empty else {})
    words = refusal("cluster", "list", **here)
    assert f"{name} is set and {URL} is not" in words
    assert f"--data-dir={running.data_dir}" in words
    assert "cenote env" in words


@pytest.mark.parametrize(
    "arguments",
    [
        ("token", "list"),
        ("cluster", "delete", "backend", "--yes"),
        ("uri", "backend"),
        ("psql", "backend"),
        ("keys", "rotate"),
        ("options",),
        ("audit",),
    ],
)
def test_no_command_passes_over_a_token(running: Service, arguments: tuple[str, ...]) -> None:
    here = {"CENOTE_DATA_DIR": str(running.data_dir), TOKEN: HOSTED}
    assert "it is unknown which service the token is for" in refusal(*arguments, **here)


@pytest.mark.parametrize("empty", list(product([None, ""], repeat=2)))
def test_an_address_without_a_token_does_nothing(
    running: Service, empty: tuple[str | None, str | None]
) -> None:
    blank = {
        name: value for name, value in zip((TOKEN, ACCESS_TOKEN), empty, strict=True) if value is not None
    }
    with listening() as (address, server):
        here = {"CENOTE_DATA_DIR": str(running.data_dir), URL: address}
        words = refusal("cluster", "list", **here, **blank)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert f"{URL} is set, but no token" in words


@pytest.mark.parametrize("token", [HOSTED, "doo_v1_x", "dor_v1_x"])
@pytest.mark.parametrize("name", [TOKEN, ACCESS_TOKEN])
def test_a_token_of_the_hosted_product_is_not_sent_elsewhere(name: str, token: str) -> None:
    with listening() as (address, server):
        words = refusal("cluster", "list", **{URL: address, name: token})
        with pytest.raises(BlockingIOError):
            server.accept()
    assert "was not sent to 127.0.0.1" in words
    assert token not in words


def test_a_token_of_a_service_is_not_sent_to_the_hosted_product() -> None:
    for address in ("https://api.digitalocean.com", "https://API.DigitalOcean.com/"):
        words = refusal("cluster", "list", **{URL: address, TOKEN: "cenote_v1_x"})
        assert "was not sent to api.digitalocean.com" in words


def test_the_first_of_two_tokens_is_used(running: Service) -> None:
    exported = running.environment()
    right, wrong = exported[TOKEN], "cenote_v1_wrong"
    assert run_cenote("token", "list", **(exported | {ACCESS_TOKEN: wrong})).returncode == 0
    assert "authenticate" in refusal("token", "list", **(exported | {TOKEN: wrong}))
    assert run_cenote("token", "list", **(exported | {TOKEN: "", ACCESS_TOKEN: right})).returncode == 0


def test_a_folder_on_the_command_line_goes_before_the_environment(running: Service) -> None:
    named = f"--data-dir={running.data_dir}"
    with listening() as (address, server):
        for environment in ({TOKEN: HOSTED}, {URL: address}, {URL: address, TOKEN: HOSTED}):
            assert "admin" in run_cenote("token", "list", named, **environment).stdout
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_folder_in_the_environment_goes_behind_a_whole_address(running: Service) -> None:
    exported = running.environment() | {"CENOTE_DATA_DIR": "/nonexistent"}
    assert "admin" in run_cenote("token", "list", **exported).stdout


def test_what_env_prints_is_enough(running: Service) -> None:
    exported = exports_of(run_cenote("env", CENOTE_DATA_DIR=str(running.data_dir)).stdout)
    assert {URL, TOKEN, ACCESS_TOKEN} <= set(exported)
    assert "admin" in run_cenote("token", "list", **exported).stdout


def test_a_service_elsewhere_that_does_not_answer_is_not_to_be_started_here() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
    done = run_cenote("cluster", "list", **{URL: address, TOKEN: "cenote_v1_x"})
    assert done.returncode == 3
    assert f"is {URL} right ({address})?" in done.stderr
    assert "cenote serve" not in done.stderr
