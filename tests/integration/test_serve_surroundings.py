"""The service in odd surroundings: what it depends on it sets, and the rest does not matter."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cenote.model.environment import OF_PROGRAMS
from tests.support.folders import server_folder
from tests.support.service import (
    CENOTE,
    Service,
    added_pool,
    answer_of,
    clean_environment,
    online_cluster,
    run_cenote,
    service,
)
from tests.support.waiting import wait_until

PROXIES = dict.fromkeys(("HTTPS_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
POSTGRESQL = {
    "PGOPTIONS": "--client-min-messages=warning -c default_transaction_read_only=on",
    "PGHOST": "nowhere.invalid",
    "PGHOSTADDR": "192.0.2.1",
    "PGPORT": "1",
    "PGUSER": "nobody",
    "PGDATABASE": "none",
    "PGDATA": "/nonexistent",
    "PGSERVICE": "none",
    "PGSSLMODE": "verify-full",
    "PGSSLROOTCERT": "/nonexistent",
    "PGPASSFILE": "/nonexistent",
    "PGTZ": "Mars/Olympus",
    "PGDATESTYLE": "German",
    "PGCLIENTENCODING": "LATIN1",
    "PGTARGETSESSIONATTRS": "standby",
    "PGCONNECT_TIMEOUT": "0",
}
ETCD = {
    "ETCD_NAME": "another",
    "ETCD_LISTEN_CLIENT_URLS": "http://127.0.0.1:1",
    "ETCD_DATA_DIR": "/nonexistent",
}
CERTIFICATES = {
    "SSL_CERT_FILE": "/nonexistent",
    "SSL_CERT_DIR": "/nonexistent",
    "OPENSSL_CONF": "/nonexistent",
}
INTERPRETER = {
    "PYTHONOPTIMIZE": "2",
    "PYTHONIOENCODING": "ascii",
    "PYTHONHASHSEED": "7",
    "PYTHONDEVMODE": "1",
    "PYTHONWARNINGS": "error",
    "GODEBUG": "gctrace=1",
    "MALLOC_PERTURB_": "7",
    "WEB_CONCURRENCY": "3",
    "FORWARDED_ALLOW_IPS": "*",
}
PLACES = {
    "TMPDIR": "/nonexistent",
    "LANG": "de_DE",
    "LC_ALL": "xx_XX",
    "LANGUAGE": "de",
    "TZ": "Nowhere/City",
}
ALL = PROXIES | POSTGRESQL | ETCD | CERTIFICATES | INTERPRETER | PLACES


def within(*commands: str) -> tuple[str, ...]:
    """Return a command that runs ours after commands of a shell, with nothing on its path."""
    return ("/bin/sh", "-c", "; ".join((*commands, 'exec "$0" "$@"')), CENOTE)


def variables_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_text().rstrip("\0").split("\0")
    return dict(pair.split("=", 1) for pair in pairs)


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    """A service in all that at once: variables, mask, limit, signals, a closed input, no folder to be in."""
    command = within(
        'gone=$(mktemp -d /tmp/cntest-gone-XXXXXX); cd "$gone"; rmdir "$gone"',
        "umask 0777; ulimit -S -n 256; ulimit -S -f 1024; ulimit -c 0",
        "trap '' HUP INT QUIT PIPE CHLD ALRM USR1 USR2 TERM",
        "unset HOME; PATH=/nonexistent; exec <&-",
    )
    with service(command=command, environment=ALL) as started:
        yield started


def test_no_variable_mask_limit_or_signal_keeps_a_cluster_from_coming_up(running: Service) -> None:
    with running.client() as client:
        cluster = online_cluster(client, "odd")
        pool = added_pool(client, cluster["id"], "pool")
        plain = {"hostaddr": "127.0.0.1"}
        assert answer_of(pool["connection"]["uri"], **plain) == 42
        assert answer_of(cluster["connection"]["uri"], "SHOW default_transaction_read_only", **plain) == "off"
        assert running.end() == 0
        running.start()
        assert answer_of(pool["connection"]["uri"], **plain) == 42
        added_pool(client, cluster["id"], "another")


def test_servers_are_started_with_variables_of_ours_and_no_others(running: Service) -> None:
    with running.client() as client:
        online_cluster(client, "servers")
    servers = running.servers()
    assert servers.keys() == {"PostgreSQL", "PgBouncer", "etcd"}
    for name, pid in servers.items():
        found = variables_of(pid)
        found.pop("ETCD_UNSUPPORTED_ARCH", None)
        if name == "PostgreSQL":  # for its backends
            assert found.pop("PG_OOM_ADJUST_FILE") == "/proc/self/oom_score_adj"
            found.pop("PG_OOM_ADJUST_VALUE")
        assert found == OF_PROGRAMS, name


def test_what_cannot_be_used_is_named_in_the_log(running: Service) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        assert f"{name}=/nonexistent has no certificates that can be read; it is ignored" in running.log()


def test_commands_work_there_as_well(running: Service) -> None:
    with running.client() as client:
        online_cluster(client, "asked")
    assert "asked" in running.cenote("cluster", "list")
    query = (f"--data-dir={running.data_dir}", "asked", "--", "-Atc", "SELECT 42")
    asked = subprocess.run(
        [CENOTE, "psql", *query],
        capture_output=True,
        text=True,
        # psql itself is the user's, with the time zone that they chose.
        env=clean_environment() | ALL | {"XDG_CACHE_HOME": str(running.data_dir), "PGTZ": "UTC"},
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=60,
    )
    assert (asked.stdout, asked.returncode) == ("42\n", 0), asked.stderr
    assert "All dependencies found" in running.cenote("doctor")


def test_a_service_that_nobody_reads_goes_on() -> None:
    """Its output is a pipe that is closed at once, and its input a terminal's that has gone."""
    command = within('umask 077; exec "$0" "$@" 2>>"${CENOTE_TEST_LOG}" | : ; exit 0')
    with server_folder() as folder:
        log = folder / "log"
        lone = Service(folder / "data", command=command, environment={"CENOTE_TEST_LOG": str(log)})
        lone.data_dir.mkdir(mode=0o700)
        if os.geteuid() == 0:
            lone.data_dir.chmod(0o710)  # as a service of former versions made it under that mask
        try:
            lone.launch()
            lone.command = (CENOTE,)  # its commands are read
            wait_until("the service has an address", 60, (lone.data_dir / "address").exists)
            with lone.client() as client:
                online_cluster(client, "alone")
            assert "Traceback" not in log.read_text()
            assert lone.data_dir.stat().st_mode & 0o011 or os.geteuid() != 0
            lone.stop()
        finally:
            lone.clean_up()


def test_a_data_directory_that_the_servers_cannot_reach_is_refused() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root runs the servers as another account")
    with server_folder() as folder:
        (folder / "closed").mkdir(mode=0o700)
        refused = run_cenote("serve", "--port=0", f"--data-dir={folder}/closed/data")
        assert refused.returncode == 1
        assert f"which cannot pass through {folder}/closed; fix: chmod a+x {folder}/closed" in refused.stderr


def test_a_user_without_a_name_is_told_what_is_missing() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become a user that does not exist")
    nobody = next(number for number in range(54_321, 60_000) if not _is_user(number))
    refused = subprocess.run(
        ["setpriv", f"--reuid={nobody}", "--clear-groups", sys.executable, "-c", "import cenote.cli"],
        capture_output=True,
        check=False,
    )
    if refused.returncode != 0:
        pytest.skip("other users cannot run this interpreter")
    with server_folder() as folder:
        os.chown(folder, nobody, -1)
        told = subprocess.run(
            ["setpriv", f"--reuid={nobody}", "--clear-groups", CENOTE, "serve", f"--data-dir={folder}/data"],
            capture_output=True,
            text=True,
            env=clean_environment(),
            check=False,
            timeout=60,
        )
        assert told.returncode == 1
        assert told.stderr.startswith(f"cenote: the user id {nobody} has no name on this machine")


def test_a_relative_path_without_a_folder_to_be_in_is_refused_in_words() -> None:
    script = 'gone=$(mktemp -d /tmp/cntest-gone-XXXXXX); cd "$gone"; rmdir "$gone"; exec "$0" "$@"'
    told = subprocess.run(
        ["/bin/sh", "-c", script, CENOTE, "doctor", "--data-dir=data"],
        capture_output=True,
        text=True,
        env=clean_environment(),
        check=False,
        timeout=60,
    )
    assert told.returncode == 1
    assert told.stderr.startswith(
        "cenote: the path data is relative, and the current directory does not exist"
    )


def _is_user(number: int) -> bool:
    try:
        pwd.getpwuid(number)
    except KeyError:
        return False
    return True
