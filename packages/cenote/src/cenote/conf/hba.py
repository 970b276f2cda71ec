"""Client authentication of PostgreSQL: ``pg_hba.conf`` and ``pg_ident.conf``.

Over the network: TLS and SCRAM only.  Locally: peer authentication over a unix socket, in a directory that
only the service and its servers can enter.

While a cluster has nodes on several hosts, these reach one another by certificates of the cluster's CA, which
only its hosts get.  By that, and not by an address, they are told from others: a host may have many.  The
common name of a certificate says which host it is of; who may replicate is listed, since a host that a
cluster has left may still have one.
"""

from collections.abc import Iterable

from cenote.conf.quoting import hba_token
from cenote.model.firewall import Networks
from cenote.model.migrations import ROLE

SUPERUSER = "postgres"
_MAP, _NODES_MAP = "cenote", "cenote-nodes"


def render(
    networks: Networks = None,
    *,
    nodes: bool = False,
    rewinds: bool = False,
    closed: Iterable[str] = (),
) -> str:
    """Render ``pg_hba.conf``; the first matching line decides, and without one a client is rejected.

    ``nodes``: other nodes may replicate, and poolers on their hosts may log in.  ``rewinds``: a node that was
    left behind may also read the files that it lacks, as pg_rewind does, and Patroni may ask each server
    about its timeline.  ``closed`` are databases that are being migrated: nobody may enter them but the
    service, and the role that fills them, from this host.
    """
    sources = ["all"] if networks is None else [str(network) for network in networks]
    databases = f"replication,{SUPERUSER}" if rewinds else "replication"
    replication = f"hostssl  {databases}  {SUPERUSER}  all  cert map={_NODES_MAP}"
    # Last, since the poolers log in as customers do, from an address that need be no trusted source.  For
    # passwords PostgreSQL knows no map, and could compare a certificate's name with that of the role alone.
    poolers = "hostssl  all  all       all  scram-sha-256 clientcert=verify-ca"
    lines = [
        *(line for name in closed for line in _closed(name)),
        f"local    all  all            peer map={_MAP}",
        f"local    replication  {SUPERUSER}  peer map={_MAP}",
        *([replication] if nodes else []),
        f"host     all  {SUPERUSER}  all  reject",
        *(f"hostssl  all  all       {source}  scram-sha-256" for source in sources),
        *([poolers] if nodes else []),
    ]
    return "# Written by Cenote; changes made here are undone.\n" + "\n".join(lines) + "\n"


def _closed(database: str) -> tuple[str, ...]:
    name = hba_token(database)
    return (
        *(f"local    {name}  {role}  peer map={_MAP}" for role in (SUPERUSER, ROLE)),
        f"local    {name}  all  reject",
        f"host     {name}  all  all  reject",
    )


def render_local() -> str:
    """Render ``pg_hba.conf`` of a server that only we, and the servers' account, can log in to."""
    return f"local  all  all  peer map={_MAP}\n"


def render_ident(
    service_user: str,
    server_user: str,
    roles: Iterable[str],
    *,
    nodes: Iterable[str] = (),
) -> str:
    """Render ``pg_ident.conf``: the service maps to the superuser, PgBouncer to any role.

    So does the servers' account, as which pgBackRest and the copy for a fork run.  It owns the data
    directory, so that gives it nothing new; PgBouncer, which runs as it, has no line by which a client could
    be the superuser.  ``nodes`` are the common names of the certificates of other nodes, which map to the
    superuser, too.

    PostgreSQL before 16 has no keyword for all roles here, so each role has a line.
    """
    supers = dict.fromkeys([service_user, server_user])
    pairs = [*((user, SUPERUSER) for user in supers), *((server_user, role) for role in sorted(roles))]
    lines = [f"{_MAP}  {hba_token(system)}  {hba_token(role)}" for system, role in pairs]
    lines += [f"{_NODES_MAP}  {hba_token(name)}  {hba_token(SUPERUSER)}" for name in nodes]
    return "# Written by Cenote; changes made here are undone.\n" + "\n".join(lines) + "\n"
