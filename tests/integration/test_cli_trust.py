"""``cenote trust`` with the system's own programs, in a mount namespace where it changes nothing outside."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cenote.security import certificates
from tests.support.service import CENOTE, Service, clean_environment

SYSTEM = Path("/usr/local/share/ca-certificates")
CERTIFICATES = Path("/etc/ssl/certs")
VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
SEE = 'curl -sS -o /dev/null -w "%{http_code}\\n" "$URL/docs" 2>&1'
PYTHON = "import os, urllib.request as u; print(u.urlopen(os.environ['URL'] + '/docs').status)"


def type_in(running: Service, folder: Path, script: str) -> str:
    """Run commands as an administrator whose system and home are copies; return what they print."""
    if os.geteuid() != 0:
        pytest.skip("only root can change the system's CA certificates")
    home, share, copies = (folder / name for name in ("home", "share", "certs"))
    if not home.exists():
        home.mkdir()
        share.mkdir()
        shutil.copytree(CERTIFICATES, copies, symlinks=True)
    mounts = f"mount --bind {share} {SYSTEM} && mount --bind {copies} {CERTIFICATES} && "
    environment = {name: value for name, value in clean_environment().items() if name not in VARIABLES}
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mounts + script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment
        | {
            "HOME": str(home),
            "CENOTE_DATA_DIR": str(running.data_dir),
            "URL": running.environment()["DIGITALOCEAN_API_URL"],
            "PATH": f"{Path(CENOTE).parent}:{os.environ['PATH']}",
        },
        check=False,
        timeout=240,
    )
    return done.stdout


def test_programs_of_the_system_and_a_browser_trust_the_api_until_it_is_removed(
    running: Service, tmp_path: Path
) -> None:
    before = type_in(running, tmp_path, SEE)
    assert before.startswith("curl: (60)")
    if shutil.which("certutil") is None:
        pytest.skip("needs certutil, which make setup-tests installs")
    database = tmp_path / "home" / ".pki" / "nssdb"
    database.mkdir(parents=True)
    subprocess.run(["certutil", "-N", "-d", f"sql:{database}", "--empty-password"], check=True)

    printed = type_in(running, tmp_path, f'cenote trust --yes && {SEE}; python3 -c "{PYTHON}"')
    authority = (running.data_dir / "ca.crt").read_bytes()
    assert f"SHA-256   {certificates.fingerprint(authority)}" in printed
    assert "good for  localhost, 127.0.0.1, ::1" in printed
    assert printed.splitlines()[-2:] == ["200", "200"]
    listed = ["certutil", "-L", "-d", f"sql:{database}"]
    name = certificates.common_name(authority)
    assert f"{name} " in subprocess.run(listed, capture_output=True, text=True, check=True).stdout

    again = type_in(running, tmp_path, "cenote trust --yes; cenote trust --remove --yes && " + SEE)
    assert "removed from" in again
    assert "curl: (60)" in again
    assert list((tmp_path / "share").iterdir()) == []
    assert name not in subprocess.run(listed, capture_output=True, text=True, check=True).stdout
    nothing = type_in(running, tmp_path, "cenote trust --remove --yes; echo $?")
    assert nothing.endswith("cenote: nothing was changed; see above\n1\n")


def test_it_asks_first(running: Service, tmp_path: Path) -> None:
    printed = type_in(running, tmp_path, "cenote trust; echo $?")
    assert printed.endswith("Trust it for these names? [y/N]: Aborted!\n1\n")
    assert list((tmp_path / "share").iterdir()) == []


def test_an_account_without_a_home_has_no_browsers(running: Service, tmp_path: Path) -> None:
    printed = type_in(running, tmp_path, "HOME=/nonexistent cenote trust --yes; echo $?")
    assert "browsers  not changed: /nonexistent, the home of this user, does not exist" in printed
    assert printed.endswith("\n0\n")


def test_root_leaves_the_browsers_of_another_user_alone(running: Service, tmp_path: Path) -> None:
    type_in(running, tmp_path, "true")
    os.chown(tmp_path / "home", 65534, 65534)
    printed = type_in(running, tmp_path, "cenote trust --yes")
    assert "belongs to another user; run this as that user, too" in printed
    assert "system    wrote " in printed
