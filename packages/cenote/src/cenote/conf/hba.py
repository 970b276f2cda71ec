"""Client authentication of PostgreSQL: ``pg_hba.conf`` and ``pg_ident.conf``.

Over the network: TLS and SCRAM only.  Locally: peer authentication over a unix socket, in a directory that
only the service and its servers can enter.
"""

from collections.abc import Iterable

from cenote.conf.quoting import hba_token
from cenote.model.firewall import Networks

SUPERUSER = "postgres"
_MAP = "cenote"


def render(networks: Networks = None) -> str:
    """Render ``pg_hba.conf``; the first matching line decides, and without one a client is rejected."""
    sources = ["all"] if networks is None else [str(network) for network in networks]
    lines = [
        f"local    all  all            peer map={_MAP}",
        f"host     all  {SUPERUSER}  all  reject",
        *(f"hostssl  all  all       {source}  scram-sha-256" for source in sources),
    ]
    return "# Written by Cenote; changes made here are undone.\n" + "\n".join(lines) + "\n"


def render_ident(service_user: str, server_user: str, roles: Iterable[str]) -> str:
    """Render ``pg_ident.conf``: the service maps to the superuser, PgBouncer to any role.

    PostgreSQL before 16 has no keyword for all roles here, so each role has a line.
    """
    pairs = [(service_user, SUPERUSER), *((server_user, role) for role in sorted(roles))]
    lines = [f"{_MAP}  {hba_token(system)}  {hba_token(role)}" for system, role in pairs]
    return "# Written by Cenote; changes made here are undone.\n" + "\n".join(lines) + "\n"
