"""The commands that manage a service: their output and exit codes.

Exit codes: 0 done, 1 refused, 2 usage error, 3 service unreachable.  An error is one line that says
what to do.
"""

from __future__ import annotations

import re
import subprocess
import sys
from uuid import UUID

import pytest
from click.testing import CliRunner

from cenote.cli import cli
from cenote_client import AuthenticationError, ForbiddenError
from tests.support.folders import server_folder
from tests.support.service import CENOTE, Service, clean_environment, exports_of, run_cenote

Done = subprocess.CompletedProcess[str]


def ran(running: Service, *arguments: str) -> Done:
    return run_cenote(*arguments, f"--data-dir={running.data_dir}")


def refusal(done: Done, code: int = 1) -> str:
    """Return the one line of a command that was refused."""
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done
    return done.stderr


# -- Help


def test_help_does_not_wait_for_the_imports_of_a_server() -> None:
    script = (
        "import sys; from cenote.cli import cli; cli(['--help'], standalone_mode=False); "
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    modules = set(done.stderr.split())
    assert "Commands:" in done.stdout
    assert modules.isdisjoint({"starlette", "uvicorn", "uvloop", "psycopg", "cryptography", "cenote.serving"})


def test_every_command_of_the_list_has_help_of_its_own() -> None:
    listed = CliRunner().invoke(cli, ["--help"]).stdout.partition("Commands:\n")[2]
    names = re.findall(r"^  (\w+) ", listed, re.MULTILINE)
    assert {"doctor", "env", "quickstart", "serve", "stop", "token"} <= set(names)
    for name in names:
        done = CliRunner().invoke(cli, [name, "--help"], prog_name="cenote")
        assert (done.exit_code, done.stderr) == (0, "")
        assert done.stdout.startswith(f"Usage: cenote {name}")


def test_the_version_is_printed() -> None:
    assert re.fullmatch(r"cenote, version \d+\.\d+\.\d+\n", run_cenote("--version").stdout)


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("serve", "--nonsense"), ("serve", "--port=many"), ("serve", "--ports=1"), ("token",)],
)
def test_a_command_line_that_is_wrong_ends_with_2_and_says_what_is_right(arguments: tuple[str, ...]) -> None:
    done = run_cenote(*arguments)
    assert done.returncode == 2
    assert "Usage: cenote" in done.stderr
    assert "Traceback" not in done.stderr


# -- env


def test_the_exports_are_what_a_shell_takes(running: Service) -> None:
    script = f'eval "$({CENOTE} env --data-dir={running.data_dir})"; env'
    done = subprocess.run(
        ["sh", "-c", script], env=clean_environment(), capture_output=True, text=True, check=True
    )
    seen = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    exported = exports_of(ran(running, "env").stdout)
    assert set(exported) == {
        "DIGITALOCEAN_API_URL",
        "DIGITALOCEAN_TOKEN",
        "DIGITALOCEAN_ACCESS_TOKEN",
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
    }
    assert exported.items() <= seen.items()


def test_a_folder_without_a_service_is_told_apart(running: Service) -> None:
    with server_folder() as folder:
        for command in (("env",), ("token", "list")):
            words = refusal(run_cenote(*command, f"--data-dir={folder}"))
            assert f"no service found in {folder}" in words
            assert "cenote serve" in words
        done = run_cenote("stop", f"--data-dir={folder}")
        assert (done.returncode, done.stdout) == (0, f"All servers in {folder} stopped; data kept\n")


# -- token


def created_token(running: Service, *arguments: str) -> str:
    done = ran(running, "token", "create", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    found = re.fullmatch(r"(cenote_v1_\S+)\n", done.stdout)
    assert found is not None, done.stdout
    return found[1]


def rows(running: Service) -> list[dict[str, str]]:
    """Return what ``token list`` shows, by heading."""
    headings, *lines = ran(running, "token", "list").stdout.splitlines()
    return [dict(zip(headings.split(), re.split(r"\s{2,}", line), strict=True)) for line in lines]


def test_a_token_is_shown_once_and_works_until_it_is_revoked(running: Service) -> None:
    text = created_token(running, "short-lived")
    with running.client(text) as client:
        assert client.databases.list_clusters()["databases"] == []
        listed = ran(running, "token", "list").stdout
        assert "short-lived" in listed
        assert text not in listed

        revoked = ran(running, "token", "revoke", "short-lived")
        assert re.fullmatch(r"Revoked short-lived \([0-9a-f-]{36}\)\n", revoked.stdout)
        with pytest.raises(AuthenticationError):
            client.databases.list_clusters()


def test_a_token_may_do_what_its_scopes_say(running: Service) -> None:
    text = created_token(running, "reader", "--scope=database:read", "--expires-in=12h")
    with running.client(text) as client:
        assert client.databases.list_clusters()["databases"] == []
        with pytest.raises(ForbiddenError):
            client.request("GET", "/v2/cenote/tokens")
    shown = next(row for row in rows(running) if row["NAME"] == "reader")
    assert shown["SCOPES"] == "database:read"
    assert shown["EXPIRES"] > shown["CREATED"]


def test_a_token_that_is_not_there_cannot_be_revoked(running: Service) -> None:
    words = refusal(ran(running, "token", "revoke", "nobody"))
    assert "token 'nobody' not found" in words
    assert "cenote token list" in words


def test_of_two_tokens_with_one_name_the_id_says_which(running: Service) -> None:
    kept, gone = created_token(running, "twin"), created_token(running, "twin")
    assert "2 tokens are named 'twin'; specify one by ID" in refusal(ran(running, "token", "revoke", "twin"))
    ids = [row["ID"] for row in rows(running) if row["NAME"] == "twin"]
    assert len({UUID(id) for id in ids}) == 2
    assert ran(running, "token", "revoke", ids[1]).returncode == 0
    with running.client(kept) as client:
        assert client.databases.list_clusters()["databases"] == []
    with running.client(gone) as client, pytest.raises(AuthenticationError):
        client.databases.list_clusters()


@pytest.mark.parametrize("arguments", [("--expires-in=soon",), ("--scope=everything",)])
def test_a_token_is_not_made_of_nonsense(running: Service, arguments: tuple[str, ...]) -> None:
    done = ran(running, "token", "create", "nonsense", *arguments)
    assert done.returncode == 2
    assert [row for row in rows(running) if row["NAME"] == "nonsense"] == []


def test_a_token_needs_a_name(running: Service) -> None:
    assert "name" in refusal(ran(running, "token", "create", ""))


def test_the_environment_says_where_the_service_is(running: Service) -> None:
    exported = running.environment()
    assert "admin" in run_cenote("token", "list", **exported).stdout
    wrong = exported | {
        "DIGITALOCEAN_TOKEN": "cenote_v1_wrong",
        "DIGITALOCEAN_ACCESS_TOKEN": "cenote_v1_wrong",
    }
    assert "Unable to authenticate you." in refusal(run_cenote("token", "list", **wrong))
    # A folder that is named goes before the environment.
    assert "admin" in run_cenote("token", "list", f"--data-dir={running.data_dir}", **wrong).stdout


def test_a_service_that_does_not_run_is_told_by_3(running: Service) -> None:
    running.end()
    try:
        words = refusal(ran(running, "token", "list"), 3)
        assert "no connection" in words
        assert "is the service running? 'cenote serve' starts it" in words
    finally:
        running.start()
