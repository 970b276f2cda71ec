"""``pgbouncer.ini``, its ``auth_file`` and its HBA file.

Clients authenticate to PgBouncer by SCRAM; PgBouncer connects to PostgreSQL over the unix socket as the
pool's role, by peer authentication.  So these files hold verifiers, but no passwords.

A pool with a user has that user's verifier on its line as well.  Over TCP, PgBouncer logs in to a server with
the keys that a client's own login has shown it, and for such a pool only with the verifier there.

The server connections of a pool are replaced by a reload: one that finds another ``connect_query`` closes
each connection of the pool when its client releases it, as the command RECONNECT does.  So the count of such
requests stands there, in a comment.  A crash between the file and the reload loses no request.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from cenote.conf.quoting import hba_token, one_line, pgbouncer_key, pgbouncer_value, userlist_token
from cenote.model import parameters
from cenote.model.firewall import EVERYWHERE, Networks
from cenote.model.parameters import Parameter
from cenote.model.records import Configuration, Pool, Value
from cenote.model.standby_pools import standby_pools

ADMIN_USER = "cenote"
ADMIN_DATABASE = "pgbouncer"
_ADMITTING = "  scram-sha-256"
_DEFAULT_CONFIGURATION = Configuration()
_AUTODB = ("autodb_pool_size", "autodb_pool_mode", "autodb_max_db_connections", "autodb_idle_timeout")
_ENTRY = re.compile(r"(?P<key>[A-Za-z0-9_.*-]+) = host='(?:[^']|'')*' port='[0-9]+'(?= )")
STATS_SECONDS = 15  # PgBouncer computes rates and averages over periods of this length


@dataclass(frozen=True, slots=True)
class Server:
    """The PostgreSQL that pools lead to: that of this host with this port, by its unix socket.

    With ``hosts``, addresses of other hosts, it is those there, by TLS and in turn.
    """

    port: int
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Instance:
    """One PgBouncer: its directories, addresses and limits, and the server that its pools lead to.

    With ``standby``, each pool leads there, too, under another name.  ``has_nodes``: the servers may be on
    other hosts at any time.
    """

    directory: Path
    socket_directory: Path
    certificate: Path
    listen: tuple[str, ...]
    port: int
    server: Server
    max_clients: int
    standby: Server | None = None
    has_nodes: bool = False


def render(
    instance: Instance,
    pools: Iterable[Pool],
    verifiers: Mapping[str, str],
    configuration: Configuration = _DEFAULT_CONFIGURATION,
) -> str:
    """Render ``pgbouncer.ini``; ``verifiers`` are of the users that may log in."""
    pooler = _formatted(parameters.POOLER, parameters.POOLER_DEFAULTS | configuration.pgbouncer)
    extensions = _formatted(parameters.EXTENSIONS, parameters.EXTENSION_DEFAULTS | configuration.cenote)
    autodb = {name: pooler.pop(name) for name in _AUTODB}
    connect_query = extensions.pop("connect_query")
    ignored = f"{pooler['ignore_startup_parameters']},{extensions.pop('ignore_parameters')}".split(",")
    pooler["ignore_startup_parameters"] = ",".join(dict.fromkeys(filter(None, ignored)))
    settings = {
        "listen_addr": ",".join(instance.listen),
        "listen_port": str(instance.port),
        "unix_socket_dir": str(instance.socket_directory),
        "unix_socket_mode": "0700",
        "pidfile": str(instance.directory / "pgbouncer.pid"),
        "auth_type": "hba",
        "auth_file": str(instance.directory / "userlist.txt"),
        "auth_hba_file": str(instance.directory / "hba.conf"),
        "admin_users": ADMIN_USER,
        "client_tls_sslmode": "require",
        "client_tls_cert_file": str(instance.certificate),
        "client_tls_key_file": str(instance.certificate),
        # No certificate is verified with these, but without them a reload parses all CA certificates of the
        # system, twice: 35 ms instead of 1.
        "client_tls_ca_file": str(instance.certificate),
        "server_tls_ca_file": str(instance.certificate),
        **_remote(instance),
        "max_client_conn": str(instance.max_clients),
        "client_login_timeout": "10",  # a connection that says nothing counts until then
        "autodb_idle_timeout": autodb["autodb_idle_timeout"],
        **pooler,
        **extensions,
        # Seconds between attempts to connect to a server that was down; with the default of 15 a short outage
        # would keep clients waiting that long.
        "server_login_retry": "0.3",
        "log_connections": "0",
        "log_disconnections": "0",
        "stats_period": str(STATS_SECONDS),
        "log_stats": "0",  # would write a line for each period
    }
    lines = ["; Written by Cenote; changes made here are undone.", "[databases]"]
    pools = sorted(pools, key=lambda pool: pool.name)
    of_standbys = standby_pools(pool.name for pool in pools)
    for pool in pools:
        verifier = verifiers.get(pool.user, "") if pool.user else ""
        lines.append(_database_line(instance, instance.server, pool, verifier, connect_query))
        if instance.standby is not None and pool.name in of_standbys:
            other = replace(pool, name=of_standbys[pool.name])
            lines.append(_database_line(instance, instance.standby, other, verifier, connect_query))
    if autodb["autodb_pool_size"] != "0":
        lines.append(_autodb_line(instance, autodb, connect_query))
    lines += ["", "[pgbouncer]"]
    lines += [f"{key} = {one_line(value)}" for key, value in settings.items()]
    return "\n".join(lines) + "\n"


def render_userlist(verifiers: Mapping[str, str]) -> str:
    """Render ``userlist.txt``: each user with its SCRAM verifier; the administrator has none."""
    lines = [f'{userlist_token(ADMIN_USER)} ""']
    lines += [f"{userlist_token(name)} {userlist_token(verifiers[name])}" for name in sorted(verifiers)]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Shut:
    """What PostgreSQL refuses and PgBouncer would not: a connection that it has serves any later client.

    ``databases`` take no new connections; ``users`` has those that may not connect to a database, and
    ``all_but`` of others those that may.
    """

    databases: Collection[str] = ()
    users: Mapping[str, Collection[str]] = field(default_factory=dict)
    all_but: Mapping[str, Collection[str]] = field(default_factory=dict)


_NOTHING_SHUT = Shut()


def render_hba(
    pools: Iterable[Pool],
    networks: Networks = None,
    shut: Shut = _NOTHING_SHUT,
    *,
    autodb: bool = False,
    standbys: bool = False,
) -> str:
    """Render ``hba.conf``: the admin console over the unix socket only, everything else by TLS and SCRAM.

    Clients of a pool with a user act as that user on the server, so no other user may log in to it.  A client
    that matches no line is rejected.  With ``autodb`` databases are reached by their names, too; with
    ``standbys``, pools by those under which they lead to one.
    """
    # PgBouncer has no keyword ``all`` for addresses.
    sources = EVERYWHERE if networks is None else networks
    lines = [
        f"local  {ADMIN_DATABASE}  {ADMIN_USER}  trust",
        "local  all  all  reject",
        *_rejected(ADMIN_DATABASE, "all"),
        *_rejected("all", ADMIN_USER),
    ]
    pools = sorted(pools, key=lambda pool: pool.name)
    others = standby_pools(pool.name for pool in pools) if standbys else {}
    for pool in pools:
        names = [pool.name, *([others[pool.name]] if pool.name in others else [])]
        for name in map(hba_token, names):
            lines += _shut(name, pool.database, pool.user, shut, sources)
            if pool.user:
                lines += [*_admitted(name, hba_token(pool.user), sources), *_rejected(name, "all")]
    if autodb:
        named = {pool.name for pool in pools}
        for database in sorted({*shut.databases, *shut.users, *shut.all_but} - named):
            lines += _shut(hba_token(database), database, "", shut, sources)
    lines += _admitted("all", "all", sources)
    return "\n".join(lines) + "\n"


def _shut(name: str, database: str, user: str, shut: Shut, sources: Collection[object]) -> list[str]:
    """Return the lines that refuse users of an entry; with a user, all others are rejected anyway."""
    refused, admitted = shut.users.get(database, ()), shut.all_but.get(database)
    if (
        database in shut.databases
        or user in refused
        or (user and admitted is not None and user not in admitted)
    ):
        return _rejected(name, "all")
    if user:
        return []
    if admitted is not None:
        inside = [line for one in sorted(admitted) for line in _admitted(name, hba_token(one), sources)]
        return inside + _rejected(name, "all")
    return [line for one in sorted(refused) for line in _rejected(name, hba_token(one))]


def with_sources(hba: str, networks: Networks) -> str:
    """Return an ``hba.conf`` of ours for other trusted sources; everything else in it stays."""
    sources = EVERYWHERE if networks is None else networks
    lines: list[str] = []
    for line in hba.splitlines():
        if not line.endswith(_ADMITTING):
            lines.append(line)
            continue
        whose = line.removesuffix(_ADMITTING).rpartition("  ")[0]
        # All lines of one database and user stand together.
        admitted = [f"{whose}  {source}{_ADMITTING}" for source in sources]
        if lines[-len(admitted) :] != admitted:
            lines += admitted
    return "\n".join(lines) + "\n"


def _admitted(database: str, user: str, sources: Iterable[object]) -> list[str]:
    return [f"hostssl  {database}  {user}  {source}{_ADMITTING}" for source in sources]


def _rejected(database: str, user: str) -> list[str]:
    return [f"host  {database}  {user}  {source}  reject" for source in EVERYWHERE]


def _database_line(instance: Instance, server: Server, pool: Pool, verifier: str, connect_query: str) -> str:
    values = {
        "dbname": pool.database,
        "pool_mode": pool.mode.value,
        "pool_size": str(pool.size),
    }
    if pool.user:
        values["user"] = pool.user
        if verifier:  # PgBouncer takes no empty value
            values["password"] = verifier
    else:
        # Each user has a pool of that size; this limits all of them together, and evicts idle connections.
        values["max_db_connections"] = str(pool.size)
    if pool.reconnects:
        # In front: what a customer has written may end in a comment.
        connect_query = f"/* reconnect {pool.reconnects} */ {connect_query}".rstrip()
    return f"{pgbouncer_key(pool.name)} = " + _entry(instance, server, values, connect_query)


def _autodb_line(instance: Instance, autodb: Mapping[str, str], connect_query: str) -> str:
    """The fallback for databases without a pool: one pool for each user and database."""
    values = {
        "pool_mode": autodb["autodb_pool_mode"],
        "pool_size": autodb["autodb_pool_size"],
        "max_db_connections": autodb["autodb_max_db_connections"],
    }
    return "* = " + _entry(instance, instance.server, values, connect_query)


def _entry(instance: Instance, server: Server, values: Mapping[str, str], connect_query: str) -> str:
    fields = {**values, "connect_query": connect_query} if connect_query else values
    rest = " ".join(f"{key}={pgbouncer_value(value)}" for key, value in fields.items())
    return f"{_place(server, instance.socket_directory)} {rest}"


def _place(server: Server, sockets: Path) -> str:
    host = ",".join(server.hosts) or str(sockets)
    return f"host={pgbouncer_value(host)} port={pgbouncer_value(str(server.port))}"


def led_to(text: str, pools: Iterable[str], server: Server, standby: Server | None, sockets: Path) -> str:
    """Return ``pgbouncer.ini`` with its pools, by name, leading to other servers; all else in it stays."""
    lines = text.split("\n")
    others = frozenset(standby_pools(pools).values())
    for number, line in enumerate(lines):
        found = _ENTRY.match(line)
        if found is None:
            continue
        target = standby if found["key"] in others else server
        if target is not None:
            lines[number] = f"{found['key']} = {_place(target, sockets)}{line[found.end() :]}"
    return "\n".join(lines)


def _remote(instance: Instance) -> dict[str, str]:
    """Return what servers on other hosts take: a certificate of the cluster's CA on both sides.

    The logins are those of the clients, whose SCRAM keys PgBouncer has seen.
    """
    if not instance.server.hosts and not instance.has_nodes:
        return {}
    return {
        "server_tls_sslmode": "verify-ca",
        "server_tls_cert_file": str(instance.certificate),
        "server_tls_key_file": str(instance.certificate),
    }


def _formatted(table: Mapping[str, Parameter], values: Mapping[str, Value]) -> dict[str, str]:
    return {name: table[name].write(value) for name, value in values.items()}
