"""What a start of the service finds on the machine: its programs, and the accounts to run as."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Collection
from dataclasses import dataclass

from cenote.errors import Misconfigured
from cenote.host import privileges, programs
from cenote.host.processes import Account
from cenote.host.programs import Programs
from cenote.model.fleet_records import ALL_ROLES, HostRole
from cenote.model.paths import Layout
from cenote.model.timing import DEFAULT, Timing
from cenote.server.settings import ServeSettings

API_ACCOUNT = "cenote-api"
PASSAGE = 0o011  # of the data directory: to pass through it, not to list it
MAKE_API_ACCOUNT = "useradd --system --user-group --no-create-home --shell /usr/sbin/nologin"


@dataclass(frozen=True, slots=True)
class Installation:
    """Settings and findings that every process of the service starts from; nothing in it changes."""

    settings: ServeSettings
    layout: Layout
    programs: Programs
    servers: Account
    api: Account
    timing: Timing
    roles: tuple[HostRole, ...] = ALL_ROLES

    @property
    def serves_api(self) -> bool:
        return HostRole.API in self.roles


def of_host(settings: ServeSettings, layout: Layout) -> Installation:
    """Return what a command on this host needs to know, whatever is installed on it."""
    own = _own_account()
    found = programs.find(data_dir=layout.data_dir)
    return Installation(settings, layout, found, own, own, DEFAULT)


def find_programs(settings: ServeSettings, roles: Collection[HostRole] = ALL_ROLES) -> Programs:
    """Return the programs to run; Misconfigured with all that is missing, and the remedies."""
    needs_etcd = HostRole.STORE in roles and not settings.etcd.endpoints
    found = programs.find(
        postgres_dirs=settings.postgres_dirs, pgbouncer=settings.pgbouncer, data_dir=settings.data_dir
    )
    problems = programs.problems(found, needs_etcd=needs_etcd)
    if problems:
        raise Misconfigured("\n".join(f"{problem.what}; fix: {problem.command}" for problem in problems))
    return found


def server_account(settings: ServeSettings) -> Account:
    """Return the account for the servers: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        if settings.account is not None:
            raise Misconfigured("--account needs root; without root the servers run as you")
        return _own_account()
    name = settings.account or "postgres"
    account = _named(name)
    if account is None:
        raise Misconfigured(
            f"there is no system user {name!r} to run the servers as; make one with "
            f"'useradd --system {name}', or name another with --account"
        )
    if account.uid == 0:
        raise Misconfigured("--account must name an unprivileged user: PostgreSQL refuses to run as root")
    return account


def api_account(settings: ServeSettings) -> Account:
    """Return the account for the API: one of its own, or ours where there can be none.

    Misconfigured when an account was asked for and cannot be had.
    """
    if os.geteuid() != 0:
        if settings.api_account is not None:
            raise Misconfigured("--api-account needs root; without root everything runs as you")
        return _own_account()
    name = settings.api_account or API_ACCOUNT
    account = _named(name)
    if account is None:
        if settings.api_account is None:
            return _own_account()
        raise Misconfigured(
            f"there is no system user {name!r} to run the API as; make one with '{MAKE_API_ACCOUNT} {name}'"
        )
    if account.uid in (0, server_account(settings).uid):
        raise Misconfigured(
            "--api-account must name a user of its own: neither root nor the servers' account"
        )
    return account


def without_api_account(account: Account) -> str | None:
    """Return what is lost because the API has no account of its own, in words; None if it has one."""
    if account.uid is not None:
        return None
    what = "the API runs as the same account as the agent: a flaw in it could reach every server and key"
    if os.geteuid() == 0:
        return f"{what}; there is no system user {API_ACCOUNT!r}"
    return f"{what}; only root can separate them"


def check_passage(layout: Layout, *accounts: Account) -> None:
    """Have the data directory open to the accounts of servers and API, as far as it is ours to open.

    Misconfigured for a folder above it that one of them cannot pass through.
    """
    mode = layout.data_dir.stat().st_mode
    others = [account for account in accounts if account.uid is not None]
    if others and mode & PASSAGE != PASSAGE:  # made by a service that was started with another umask
        layout.data_dir.chmod(stat.S_IMODE(mode) | PASSAGE)
    for account in others:
        closed = privileges.closed_to(account, layout.data_dir)
        if closed is not None:
            raise Misconfigured(
                f"the data directory {layout.data_dir} cannot be reached by {account.name}, which cannot "
                f"pass through {closed}; fix: chmod a+x {closed}, or choose another --data-dir"
            )


def _own_account() -> Account:
    try:
        return Account(pwd.getpwuid(os.geteuid()).pw_name)
    except KeyError:
        raise Misconfigured(
            f"the user id {os.geteuid()} has no name on this machine, and PostgreSQL runs under a named user "
            "only; add a line for it to /etc/passwd"
        ) from None


def _named(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
