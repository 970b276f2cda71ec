"""Who may reach PostgreSQL: ``pg_hba.conf`` and ``pg_ident.conf``.

From the network: TLS and SCRAM only.  From the machine: the unix socket stands in a folder that only the
service and its servers can enter, and the kernel says who is calling.
"""

from collections.abc import Iterable

from cenote.conf.quoting import hba_token
from cenote.model.firewall import Networks

SUPERUSER = "postgres"
_MAP = "cenote"


def render(networks: Networks = None) -> str:
    """``pg_hba.conf``; the first line that matches decides, and who matches none is refused."""
    sources = ["all"] if networks is None else [str(network) for network in networks]
    lines = [
        f"local    all  all            peer map={_MAP}",
        f"host     all  {SUPERUSER}  all  reject",
        *(f"hostssl  all  all       {source}  scram-sha-256" for source in sources),
    ]
    return "# Written by Cenote; changes made here are undone.\n" + "\n".join(lines) + "\n"


def render_ident(service_user: str, server_user: str, roles: Iterable[str]) -> str:
    """``pg_ident.conf``: the service is the superuser, and the pooler may be any role.

    PostgreSQL before 16 knows no word for "any role" here, so each role has its line.
    """
    pairs = [(service_user, SUPERUSER), *((server_user, role) for role in sorted(roles))]
    lines = [f"{_MAP}  {hba_token(system)}  {hba_token(role)}" for system, role in pairs]
    return "# Written by Cenote; changes made here are undone.\n" + "\n".join(lines) + "\n"
