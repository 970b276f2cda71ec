"""Tools that own a schema or make databases of their own, each run as its users run it, on a new cluster."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cenote_client import Client
from cenote_client.errors import APIError
from tests.support import environments, npm
from tests.support.service import answer_of, ca_file, clean_environment, online_cluster, tried

PINS = Path(__file__).parents[1] / "support" / "tools.txt"
DRIZZLE, WITH = "0.31.11", ("drizzle-orm@0.45.4", "pg@8.16.3")
RUN_SECONDS = 300
COUNT = "SELECT count(*) > 0 FROM pg_stat_statements"

DRIZZLE_FILES = {
    "drizzle.config.js": """
        module.exports = {
          dialect: "postgresql", schema: "./schema.js", dbCredentials: { url: process.env.DATABASE_URL },
        };
    """,
    "schema.js": """
        const { pgTable, serial, text } = require("drizzle-orm/pg-core");
        exports.parts = pgTable("parts", { id: serial("id").primaryKey(), name: text("name").notNull() });
    """,
}

# Everything that a comparison of the metadata with all schemas of the database would change.
ALEMBIC = """
import os, sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
engine = sqlalchemy.create_engine("postgresql+psycopg:" + os.environ["DATABASE_URL"].partition(":")[2])
with engine.connect() as connection:
    context = MigrationContext.configure(connection, opts={"include_schemas": True})
    print(compare_metadata(context, sqlalchemy.MetaData()), sqlalchemy.inspect(connection).get_schema_names())
    print(sqlalchemy.inspect(connection).get_view_names())
"""

DJANGO_FILES = {
    "settings.py": """
        import os
        from urllib.parse import urlsplit
        url = urlsplit(os.environ["DATABASE_URL"])
        DATABASES = {"default": {
            "ENGINE": "django.db.backends.postgresql", "NAME": url.path[1:], "HOST": url.hostname,
            "PORT": url.port, "USER": url.username, "PASSWORD": url.password,
            "OPTIONS": {"sslmode": "require"},
        }}
        INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "shop"]
        DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
        SECRET_KEY = "of a test"
    """,
    "shop/__init__.py": "",
    "shop/tests.py": """
        from django.contrib.auth.models import User
        from django.test import TestCase
        class Case(TestCase):
            def test_rows(self):
                User.objects.create(username="one")
                self.assertEqual(User.objects.count(), 1)
    """,
}


@pytest.fixture
def cluster(client: Client, request: pytest.FixtureRequest) -> Any:
    """A cluster as it is created, removed at the end."""
    created = online_cluster(client, f"tool-{abs(hash(request.node.name)) % 10**6}")
    yield created
    client.request("DELETE", f"/v2/databases/{created['id']}")


def laid_out(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        lines = text.strip("\n").splitlines()
        margin = len(lines[0]) - len(lines[0].lstrip()) if lines else 0
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{line[margin:]}\n" for line in lines))


def run(command: list[str], folder: Path, uri: str, **environment: str) -> str:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=folder,
        env=clean_environment() | {"PATH": os.environ["PATH"], "DATABASE_URL": uri} | environment,
        check=False,
        timeout=RUN_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_drizzle_kit_pushes_to_an_empty_database_and_to_one_that_was_reset(
    client: Client, cluster: Any, tmp_path: Path
) -> None:
    folder = npm.package("drizzle-kit", DRIZZLE, with_=WITH, binaries=True)
    (tmp_path / "node_modules").symlink_to(folder.parent)
    laid_out(tmp_path, DRIZZLE_FILES)
    uri = cluster["connection"]["uri"]
    push = [npm.node(), str(folder / "bin.cjs"), "push", "--force"]
    trusted = {"NODE_EXTRA_CA_CERTS": ca_file(client, cluster["id"], tmp_path)}
    for _ in range(2):
        assert "Changes applied" in run(push, tmp_path, uri, **trusted)
        assert "No changes detected" in run(push, tmp_path, uri, **trusted)
        assert answer_of(uri, COUNT) is True
        with psycopg.connect(uri) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        assert answer_of(uri, COUNT) is True


def test_alembic_finds_nothing_to_remove_in_a_new_database(cluster: Any, tmp_path: Path) -> None:
    python = environments.python_of("tools", PINS)
    printed = run([str(python), "-c", ALEMBIC], tmp_path, cluster["connection"]["uri"])
    assert printed.splitlines() == ["[] ['information_schema', 'public']", "[]"]


@pytest.mark.parametrize("user", ["doadmin", "app"])
def test_django_makes_a_database_for_its_tests_and_drops_it(
    client: Client, cluster: Any, tmp_path: Path, user: str
) -> None:
    """It connects to ``postgres`` to create the database, and again to drop it."""
    uri = cluster["connection"]["uri"]
    if user != "doadmin":
        created = client.request("POST", f"/v2/databases/{cluster['id']}/users", json={"name": user})["user"]
        with psycopg.connect(uri, autocommit=True) as connection:
            connection.execute("ALTER ROLE app CREATEDB")
        uri = uri.replace(f"doadmin:{cluster['connection']['password']}", f"{user}:{created['password']}")
    laid_out(tmp_path, DJANGO_FILES)
    manage = [str(environments.python_of("tools", PINS)), "-m", "django"]
    where = {"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": str(tmp_path)}
    printed = run([*manage, "test", "--noinput", "--verbosity=2"], tmp_path, uri, **where)
    assert "Ran 1 test" in printed
    assert "Normally Django will use a connection to the 'postgres' database" not in printed
    assert answer_of(uri, "SELECT count(*) FROM pg_database WHERE datname ~ '^test_'") == 0
    assert "class " not in run([*manage, "inspectdb", "--include-views"], tmp_path, uri, **where)


def test_rails_makes_and_drops_databases_from_postgres(cluster: Any) -> None:
    """The statements of db:create, db:drop and of a parallel test run."""
    uri = cluster["connection"]["uri"]
    with psycopg.connect(uri.replace("/defaultdb", "/postgres"), autocommit=True) as connection:
        for name in ("shop_development", "shop_test", "shop_test-0"):
            connection.execute(f"CREATE DATABASE \"{name}\" ENCODING = 'unicode'".encode())
            assert answer_of(uri.replace("/defaultdb", f"/{name}"), COUNT) is True
            connection.execute(f'DROP DATABASE IF EXISTS "{name}"'.encode())


def test_the_api_neither_lists_the_database_postgres_nor_makes_pools_for_it(
    client: Client, cluster: Any
) -> None:
    path = f"/v2/databases/{cluster['id']}"
    assert [one["name"] for one in client.request("GET", f"{path}/dbs")["dbs"]] == ["defaultdb"]
    body = {"name": "of-postgres", "db": "postgres", "user": "doadmin", "size": 2, "mode": "session"}
    for method, where, asked in (
        ("GET", "/dbs/postgres", None),
        ("DELETE", "/dbs/postgres", None),
        ("POST", "/dbs", {"name": "postgres"}),
        ("POST", "/pools", body),
        ("POST", "/pools", body | {"name": "postgres", "db": "defaultdb"}),
    ):
        with pytest.raises(APIError):
            client.request(method, path + where, json=asked)
    assert answer_of(cluster["connection"]["uri"].replace("/defaultdb", "/postgres")) == 42


def test_the_pools_for_databases_without_one_lead_there_as_each_user(client: Client, cluster: Any) -> None:
    path = f"/v2/databases/{cluster['id']}"
    client.request("POST", f"{path}/pools", json={
        "name": "web", "db": "defaultdb", "user": "doadmin", "size": 2, "mode": "session",
    })  # fmt: skip
    uri = client.request("GET", f"{path}/pools/web")["pool"]["connection"]["uri"].replace("/web", "/postgres")
    assert tried(uri) is None
    client.request("PATCH", f"{path}/config", json={"config": {"pgbouncer": {"autodb_pool_size": 2}}})
    assert answer_of(uri, "SELECT current_user || ' in ' || current_database()") == "doadmin in postgres"
    with psycopg.connect(uri) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("CREATE TABLE mine ()")
