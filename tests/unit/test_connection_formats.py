"""One connection in the words of each driver, read back as that driver reads it."""

from __future__ import annotations

import ast
from dataclasses import replace
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from cenote.model.connection_formats import FORMATS, Target

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
TARGETS = st.builds(
    Target,
    host=st.sampled_from(["localhost", "db.example.com", "127.0.0.1", "2001:db8::1"]),
    port=st.integers(1, 65535),
    database=TEXT,
    user=TEXT,
    password=TEXT,
    authority=st.sampled_from([None, "/etc/cenote/my ca & co.crt"]),
)


@given(TARGETS)
def test_libpq_reads_back_what_was_meant(target: Target) -> None:
    read = conninfo_to_dict(FORMATS["libpq"](target))
    assert read["host"] == target.host
    assert read["port"] == str(target.port)
    assert read["dbname"] == target.database
    assert (read["user"], read["password"]) == (target.user, target.password)
    assert read.get("sslrootcert") == target.authority
    assert read["sslmode"] == ("require" if target.authority is None else "verify-full")


@pytest.mark.parametrize("name", ["sqlalchemy", "prisma", "node", "go", "lib-pq"])
@given(TARGETS)
def test_every_uri_keeps_each_part_in_its_place(name: str, target: Target) -> None:
    read = urlsplit(FORMATS[name](target))
    assert (read.hostname, read.port) == (target.host, target.port)
    assert unquote(read.path[1:]) == target.database
    assert (unquote(read.username or ""), unquote(read.password or "")) == (target.user, target.password)


def test_lib_pq_prepares_and_executes_in_one_step() -> None:
    """What ``tools.drivers`` has seen: without the parameter, most answers are another query's."""
    target = Target("db.example.com", 25061, "web", "app", "secret")
    assert parse_qs(urlsplit(FORMATS["lib-pq"](target)).query)["binary_parameters"] == ["yes"]
    assert "binary_parameters" not in FORMATS["go"](target)  # pgx would send it on, and a pool refuse it


@given(TARGETS)
def test_jdbc_has_the_login_among_the_parameters(target: Target) -> None:
    kind, _, rest = FORMATS["jdbc"](target).partition(":")
    read = urlsplit(rest)
    parameters = parse_qs(read.query, strict_parsing=True)
    assert (kind, read.scheme) == ("jdbc", "postgresql")
    assert unquote(read.path[1:]) == target.database
    assert (parameters["user"], parameters["password"]) == ([target.user], [target.password])


@given(TARGETS)
def test_the_settings_for_django_are_python(target: Target) -> None:
    name, _, value = FORMATS["django"](target).partition(" = ")
    database = ast.literal_eval(value)["default"]
    assert name == "DATABASES"
    assert (database["NAME"], database["USER"]) == (target.database, target.user)
    assert (database["PASSWORD"], database["PORT"]) == (target.password, target.port)
    assert database["OPTIONS"].get("sslrootcert") == target.authority


@given(TARGETS)
def test_the_password_does_not_show_in_the_repr(target: Target) -> None:
    secret = "cenote" + "x" * 20  # longer than what the other fields are given
    assert secret not in repr(replace(target, password=secret))


@given(TARGETS, st.booleans())
def test_libpq_and_jdbc_take_all_hosts_of_a_cluster(target: Target, direct: bool) -> None:
    hosts = (("10.0.0.1", 25060), ("2001:db8::1", 25062), ("db.example.com", 25060))
    target = replace(target, hosts=hosts, direct=direct)
    read = conninfo_to_dict(FORMATS["libpq-hosts"](target))
    assert read["host"] == "10.0.0.1,2001:db8::1,db.example.com"
    assert read["port"] == "25060,25062,25060"
    assert (read["user"], read["password"], read["dbname"]) == (target.user, target.password, target.database)
    assert read.get("target_session_attrs") == ("primary" if direct else None)
    jdbc = FORMATS["jdbc-hosts"](target)
    assert jdbc.startswith("jdbc:postgresql://10.0.0.1:25060,[2001:db8::1]:25062,db.example.com:25060/")
    parameters = parse_qs(jdbc.partition("?")[2], strict_parsing=True)
    assert parameters.get("targetServerType") == (["primary"] if direct else None)
    assert (parameters["user"], parameters["password"]) == ([target.user], [target.password])
