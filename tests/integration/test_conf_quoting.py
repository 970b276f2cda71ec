"""Names that would break a file if they could, read back from the programs that the files are for.

The API lets in far fewer characters; here each format has to hold its own.
"""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from cenote.host import sql
from cenote.model.records import Cluster, Configuration, Database, Pool
from cenote.model.topology import writer_or_first
from tests.support import records
from tests.support.agent import ask, refusal
from tests.support.lab import Lab, Share

NASTY = (
    "it's",
    'say "hi"',
    '"',
    "'",
    "two  spaces ",
    " before",
    "#comment",
    "a=b",
    "*",
    "semi;colon",
    "back\\slash",
    "100%",
    "%include",
    "[pgbouncer]",
    "a,b",
    "+group",
    "@file",
    "all",
    "sameuser",
    "replication",
    "reject",
    "select",
    "Grüße-日本語",
    "x' host='elsewhere",
    '" "" trust',
    "a" * 63,
    "ä" * 31,
)


async def nasty_cluster(lab: Lab, names: tuple[str, ...] = NASTY) -> Cluster:
    """A cluster with a user, a database, a pool with that user and an inbound one for each nasty name."""
    plain = lab.new_cluster()
    cluster = replace(
        plain,
        size="db-s-2vcpu-4gb",
        users=(*plain.users, *(records.user(name) for name in names)),
        databases=(*plain.databases, *(Database(name=name) for name in names)),
        pools=tuple(
            Pool(name=f"{kind}-{number}", database=name, size=1, user=name if kind == "fixed" else "")
            for number, name in enumerate(names)
            for kind in ("fixed", "inbound")
        ),
    )
    await lab.converge(cluster)
    return cluster


async def console(lab: Lab, cluster: Cluster, what: str) -> list[dict[str, Any]]:
    return (
        await sql.console(lab.session(cluster).sockets, writer_or_first(cluster).pool_port, f"SHOW {what}")
    )[0]


def test_both_programs_read_what_was_written_and_let_everybody_in_as_themselves(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await nasty_cluster(lab)
        assert await lab.plan(cluster) == []

        found = {row["name"]: row for row in await console(lab, cluster, "DATABASES")}
        assert found.keys() == {"pgbouncer", *(pool.name for pool in cluster.pools)}
        for pool in cluster.pools:
            row = found[pool.name]
            assert (row["database"], row["force_user"]) == (pool.database, pool.user or None)
            assert (row["host"], row["pool_size"]) == (str(lab.session(cluster).sockets), 1)
        users = {row["name"] for row in await console(lab, cluster, "USERS")}
        assert users == {"cenote", "pgbouncer", *(user.name for user in cluster.users)}

        mapped = await lab.rows(cluster, "SELECT sys_name, pg_username, error FROM pg_ident_file_mappings")
        assert sorted(mapped, key=str) == sorted(
            [
                (lab.host.service_user, "postgres", None),
                (lab.host.server_user, "postgres", None),
                *((lab.host.server_user, user.name, None) for user in cluster.users),
            ],
            key=str,
        )
        rules = await lab.rows(cluster, "SELECT type, user_name, auth_method, error FROM pg_hba_file_rules")
        assert rules == [
            ("local", ["all"], "peer", None),
            ("local", ["postgres"], "peer", None),
            ("host", ["postgres"], "reject", None),
            ("hostssl", ["all"], "scram-sha-256", None),
        ]
        for number, name in enumerate(NASTY):
            for how in ({"pool": None, "database": name}, {"pool": f"fixed-{number}"}):
                told = await ask(cluster, "SELECT current_user", user=name, **how)
                assert told == name
            inbound = f"inbound-{number}"
            assert await ask(cluster, "SELECT current_user", user=name, pool=inbound) == name
            assert await ask(cluster, "SELECT current_database()", user="doadmin", pool=inbound) == name
        assert "login rejected" in await refusal(cluster, user=NASTY[0], pool="fixed-1")
        assert "authentication failed" in await refusal(cluster, user="all", password="x", pool="inbound-1")

    labs(scenario)


def test_all_of_them_can_be_taken_away_again(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await nasty_cluster(lab, NASTY[::4])
        plain = replace(cluster, users=cluster.users[:1], databases=cluster.databases[:1], pools=())
        await lab.converge(plain)
        assert await lab.plan(plain) == []
        made = (
            "SELECT kind, name FROM cenote.made "
            "WHERE kind NOT LIKE '%-state' AND kind <> 'removed' ORDER BY 1, 2"
        )
        assert await lab.rows(plain, made) == [
            ("database", "defaultdb"),
            ("layout", "2"),
            ("role", "doadmin"),
        ]
        states = (
            "SELECT DISTINCT split_part(name, '/', 1) FROM cenote.made WHERE kind LIKE '%-state' ORDER BY 1"
        )
        assert sorted(await lab.rows(plain, states)) == [("defaultdb",), ("doadmin",)]
        left = await lab.rows(plain, "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1")
        assert left == [("doadmin",), ("postgres",)]

    labs(scenario)


@pytest.mark.parametrize("text", ["it's", "back\\slash\\n", "%include", "# no comment", "a'' OR ''b"])
def test_a_value_of_postgresql_conf_arrives_as_it_was(labs: Share, text: str) -> None:
    async def scenario(lab: Lab) -> None:
        odd = Configuration(postgresql={"log_line_prefix": text})
        cluster = replace(lab.new_cluster(), configuration=odd)
        await lab.converge(cluster)
        asked = "SELECT setting FROM pg_settings WHERE name = 'log_line_prefix'"
        assert await lab.rows(cluster, asked) == [(f"{text} ",)]
        assert await lab.rows(cluster, "SELECT name FROM pg_file_settings WHERE error IS NOT NULL") == []

    labs(scenario)
