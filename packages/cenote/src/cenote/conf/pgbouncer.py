"""``pgbouncer.ini``, its ``auth_file`` and its HBA file.

Clients prove their password to PgBouncer by SCRAM; PgBouncer reaches PostgreSQL over the unix socket as the
role that the pool says, by ``peer``.  So no file here holds a password, only verifiers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cenote.conf.quoting import hba_token, one_line, pgbouncer_key, pgbouncer_value, userlist_token
from cenote.model import parameters
from cenote.model.firewall import EVERYWHERE, Networks
from cenote.model.parameters import Parameter
from cenote.model.records import Configuration, Pool, User, Value

ADMIN_USER = "cenote"
ADMIN_DATABASE = "pgbouncer"
_DEFAULT_CONFIGURATION = Configuration()
_AUTODB = ("autodb_pool_size", "autodb_pool_mode", "autodb_max_db_connections", "autodb_idle_timeout")
STATS_SECONDS = 15  # rates and averages are of the last whole period of this length


@dataclass(frozen=True, slots=True)
class Instance:
    """Where a pooler stands: its own folder and addresses, and the server behind it."""

    directory: Path
    socket_directory: Path
    certificate: Path
    listen: tuple[str, ...]
    port: int
    server_port: int
    max_clients: int


def render(
    place: Instance, pools: Iterable[Pool], configuration: Configuration = _DEFAULT_CONFIGURATION
) -> str:
    """``pgbouncer.ini``."""
    pooler = _formatted(parameters.POOLER, parameters.POOLER_DEFAULTS | configuration.pgbouncer)
    extensions = _formatted(parameters.EXTENSIONS, parameters.EXTENSION_DEFAULTS | configuration.cenote)
    automatic = {name: pooler.pop(name) for name in _AUTODB}
    connect_query = extensions.pop("connect_query")
    settings = {
        "listen_addr": ",".join(place.listen),
        "listen_port": str(place.port),
        "unix_socket_dir": str(place.socket_directory),
        "unix_socket_mode": "0700",
        "pidfile": str(place.directory / "pgbouncer.pid"),
        "auth_type": "hba",
        "auth_file": str(place.directory / "userlist.txt"),
        "auth_hba_file": str(place.directory / "hba.conf"),
        "admin_users": ADMIN_USER,
        "client_tls_sslmode": "require",
        "client_tls_cert_file": str(place.certificate),
        "client_tls_key_file": str(place.certificate),
        # Nobody's certificate is checked here.  Without these two a reload parses all CA certificates of the
        # system, twice: 35 ms instead of 1.
        "client_tls_ca_file": str(place.certificate),
        "server_tls_ca_file": str(place.certificate),
        "max_client_conn": str(place.max_clients),
        "autodb_idle_timeout": automatic["autodb_idle_timeout"],
        **pooler,
        **extensions,
        # Seconds between tries to reach a server that was down; by default clients of one that was down for a
        # moment wait for 15.
        "server_login_retry": "0.3",
        "log_connections": "0",
        "log_disconnections": "0",
        "stats_period": str(STATS_SECONDS),
        "log_stats": "0",  # a line for each period
    }
    lines = ["; Written by Cenote; changes made here are undone.", "[databases]"]
    lines += [
        _database_line(place, pool, connect_query) for pool in sorted(pools, key=lambda pool: pool.name)
    ]
    if automatic["autodb_pool_size"] != "0":
        lines.append(_autodb_line(place, automatic, connect_query))
    lines += ["", "[pgbouncer]"]
    lines += [f"{key} = {one_line(value)}" for key, value in settings.items()]
    return "\n".join(lines) + "\n"


def render_userlist(users: Iterable[User]) -> str:
    """``userlist.txt``: each user with its SCRAM verifier, and the administrator, who has none."""
    lines = [f'{userlist_token(ADMIN_USER)} ""']
    lines += [
        f"{userlist_token(user.name)} {userlist_token(user.verifier)}"
        for user in sorted(users, key=lambda user: user.name)
    ]
    return "\n".join(lines) + "\n"


def render_hba(pools: Iterable[Pool], networks: Networks = None) -> str:
    """``hba.conf``: the console for who can enter the socket's folder, everything else by TLS and SCRAM.

    Whoever gets into a pool with a user is that user on the server, so nobody else gets into it.  Who matches
    no line is refused.
    """
    # PgBouncer has no word for every address, as PostgreSQL has.
    sources = EVERYWHERE if networks is None else networks
    lines = [
        f"local  {ADMIN_DATABASE}  {ADMIN_USER}  trust",
        "local  all  all  reject",
        *_rejected(ADMIN_DATABASE, "all"),
        *_rejected("all", ADMIN_USER),
    ]
    for pool in sorted(pools, key=lambda pool: pool.name):
        if pool.user:
            name = hba_token(pool.name)
            lines += [*_admitted(name, hba_token(pool.user), sources), *_rejected(name, "all")]
    lines += _admitted("all", "all", sources)
    return "\n".join(lines) + "\n"


def _admitted(database: str, user: str, sources: Iterable[object]) -> list[str]:
    return [f"hostssl  {database}  {user}  {source}  scram-sha-256" for source in sources]


def _rejected(database: str, user: str) -> list[str]:
    return [f"host  {database}  {user}  {source}  reject" for source in EVERYWHERE]


def _database_line(place: Instance, pool: Pool, connect_query: str) -> str:
    values = {
        "dbname": pool.database,
        "pool_mode": pool.mode.value,
        "pool_size": str(pool.size),
    }
    if pool.user:
        values["user"] = pool.user
    else:
        # Each user of it has a pool of that size; together they may have no more, and idle ones make room.
        values["max_db_connections"] = str(pool.size)
    return f"{pgbouncer_key(pool.name)} = " + _entry(place, values, connect_query)


def _autodb_line(place: Instance, automatic: Mapping[str, str], connect_query: str) -> str:
    """The line for every database without a pool of its own: one pool for each user of it."""
    values = {
        "pool_mode": automatic["autodb_pool_mode"],
        "pool_size": automatic["autodb_pool_size"],
        "max_db_connections": automatic["autodb_max_db_connections"],
    }
    return "* = " + _entry(place, values, connect_query)


def _entry(place: Instance, values: Mapping[str, str], connect_query: str) -> str:
    everything = {"host": str(place.socket_directory), "port": str(place.server_port), **values}
    if connect_query:
        everything["connect_query"] = connect_query
    return " ".join(f"{key}={pgbouncer_value(value)}" for key, value in everything.items())


def _formatted(table: Mapping[str, Parameter], values: Mapping[str, Value]) -> dict[str, str]:
    return {name: table[name].write(value) for name, value in values.items()}
