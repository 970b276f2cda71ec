"""Connection strings and snippets for drivers and frameworks; every part is quoted."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect; ``authority`` is the file of CA certificates to verify the server with.

    ``hosts`` are all hosts of the cluster with their ports, for the formats that name these; ``direct`` if
    they are no poolers, each of which leads to the primary.  Such formats leave out a login that is empty.
    """

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    authority: str | None = None
    hosts: tuple[tuple[str, int], ...] = ()
    direct: bool = True


def libpq(target: Target) -> str:
    """For psql, psycopg, asyncpg, Ruby, PHP, Rust: any driver that accepts libpq's URIs."""
    return _uri("postgresql", target, _tls(target))


def sqlalchemy(target: Target) -> str:
    """https://docs.sqlalchemy.org/en/20/dialects/postgresql.html#module-sqlalchemy.dialects.postgresql.psycopg"""
    return _uri("postgresql+psycopg", target, _tls(target))


def go(target: Target) -> str:
    """For pgx."""
    return _uri("postgres", target, _tls(target))


def lib_pq(target: Target) -> str:
    """For lib/pq, which without this parameter gets other clients' answers in a transaction pool.

    It prepares unnamed statements, and executes them in a second step, when the pool may have given the
    server's connection to another client.  pgx does not know the parameter.
    """
    return _uri("postgres", target, {**_tls(target), "binary_parameters": "yes"})


def node(target: Target) -> str:
    """For node-postgres, which treats "require" as "verify-full" unless libpq compatibility is on."""
    return _uri("postgresql", target, {"uselibpqcompat": "true", **_tls(target)})


def prisma(target: Target) -> str:
    """https://www.prisma.io/docs/orm/overview/databases/postgresql#connection-details"""
    if target.authority is None:
        return _uri("postgresql", target, {"sslmode": "require", "sslaccept": "accept_invalid_certs"})
    return _uri(
        "postgresql", target, {"sslmode": "require", "sslaccept": "strict", "sslcert": target.authority}
    )


def jdbc(target: Target) -> str:
    """https://jdbc.postgresql.org/documentation/use/"""
    parameters = {"user": target.user, "password": target.password, **_tls(target)}
    return (
        f"jdbc:postgresql://{_host_and_port(target)}/{quote(target.database, safe='')}?{_query(parameters)}"
    )


def libpq_hosts(target: Target) -> str:
    """All hosts, for libpq 14 or newer, and for asyncpg: it connects to the first that is the primary.

    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS
    """
    password = f":{quote(target.password, safe='')}" if target.password else ""
    login = f"{quote(target.user, safe='')}{password}@" if target.user else ""
    chosen = {"target_session_attrs": "primary"} if target.direct else {}
    query = _query({**_tls(target), **chosen})
    return f"postgresql://{login}{_hosts_and_ports(target)}/{quote(target.database, safe='')}?{query}"


def jdbc_hosts(target: Target) -> str:
    """All hosts: https://jdbc.postgresql.org/documentation/use/#connection-fail-over"""
    given = {"user": target.user, "password": target.password}
    login = {name: value for name, value in given.items() if value}
    chosen = {"targetServerType": "primary"} if target.direct else {}
    query = _query({**login, **_tls(target), **chosen})
    return f"jdbc:postgresql://{_hosts_and_ports(target)}/{quote(target.database, safe='')}?{query}"


def django(target: Target) -> str:
    """DATABASES of settings.py.  Server-side cursors are off: not every pool has the session they need."""
    options = ", ".join(f"{name!r}: {value!r}" for name, value in _tls(target).items())
    fields = {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": target.host,
        "PORT": target.port,
        "NAME": target.database,
        "USER": target.user,
        "PASSWORD": target.password,
        "DISABLE_SERVER_SIDE_CURSORS": True,
    }
    lines = [f"        {name!r}: {value!r}," for name, value in fields.items()]
    return "\n".join(
        ["DATABASES = {", "    'default': {", *lines, f"        'OPTIONS': {{{options}}},", "    }", "}"]
    )


def environment(target: Target) -> str:
    """libpq's environment variables, for a shell: https://www.postgresql.org/docs/current/libpq-envars.html"""
    variables = {
        "PGHOST": target.host,
        "PGPORT": str(target.port),
        "PGDATABASE": target.database,
        "PGUSER": target.user,
        "PGPASSWORD": target.password,
        **{f"PG{name.upper()}": value for name, value in _tls(target).items()},
    }
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())


def psql(target: Target) -> str:
    return f"psql {shlex.quote(libpq(target))}"


def _psycopg_snippet(target: Target) -> str:
    return f"""import psycopg

with psycopg.connect({libpq(target)!r}) as connection:
    print(connection.execute("SELECT version()").fetchone())"""


def _sqlalchemy_snippet(target: Target) -> str:
    return f"""from sqlalchemy import create_engine, text

engine = create_engine({sqlalchemy(target)!r})
with engine.connect() as connection:
    print(connection.execute(text("SELECT version()")).scalar())"""


def _prisma_snippet(target: Target) -> str:
    return f"""# .env
DATABASE_URL={_double_quoted(prisma(target))}"""


def _node_snippet(target: Target) -> str:
    return f"""import pg from "pg";

const pool = new pg.Pool({{ connectionString: {_double_quoted(node(target))} }});
console.log((await pool.query("SELECT version()")).rows[0]);"""


def _java_snippet(target: Target) -> str:
    return f"""var url = {_double_quoted(jdbc(target))};
try (var connection = DriverManager.getConnection(url)) {{
    System.out.println(connection.getMetaData().getDatabaseProductVersion());
}}"""


def _go_snippet(target: Target) -> str:
    return f"""connection, err := pgx.Connect(ctx, {_double_quoted(go(target))})
if err != nil {{
    log.Fatal(err)
}}
defer connection.Close(ctx)"""


# Snippets for a program or a shell, by the name of the tool.
SNIPPETS: dict[str, Callable[[Target], str]] = {
    "psql": psql,
    "psycopg": _psycopg_snippet,
    "SQLAlchemy": _sqlalchemy_snippet,
    "Django": django,
    "Prisma": _prisma_snippet,
    "node-postgres": _node_snippet,
    "JDBC": _java_snippet,
    "Go (pgx)": _go_snippet,
}

FORMATS: dict[str, Callable[[Target], str]] = {
    "libpq": libpq,
    "django": django,
    "sqlalchemy": sqlalchemy,
    "prisma": prisma,
    "jdbc": jdbc,
    "node": node,
    "go": go,
    "lib-pq": lib_pq,
    "libpq-hosts": libpq_hosts,
    "jdbc-hosts": jdbc_hosts,
    "asyncpg-hosts": libpq_hosts,
}


def _double_quoted(text: str) -> str:
    """Every URI above is ASCII without quotes and control characters; its backslashes are percent-encoded."""
    return f'"{text}"'


def _tls(target: Target) -> dict[str, str]:
    if target.authority is None:
        return {"sslmode": "require"}
    return {"sslmode": "verify-full", "sslrootcert": target.authority}


def _uri(scheme: str, target: Target, parameters: dict[str, str]) -> str:
    login = f"{quote(target.user, safe='')}:{quote(target.password, safe='')}"
    return (
        f"{scheme}://{login}@{_host_and_port(target)}/{quote(target.database, safe='')}?{_query(parameters)}"
    )


def _host_and_port(target: Target) -> str:
    return _place(target.host, target.port)


def _hosts_and_ports(target: Target) -> str:
    return ",".join(_place(*place) for place in target.hosts)


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _query(parameters: dict[str, str]) -> str:
    return "&".join(f"{name}={quote(value, safe='/')}" for name, value in parameters.items())
