"""Online migrations from servers of each major version that can be had, into those that clusters have."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cenote_client import InvalidError
from tests.support import upgrading
from tests.support.importing import checksums, reading_all, rows, uri_of
from tests.support.migrating import Migration, login, state
from tests.support.plain_postgres import PlainPostgres, plain_postgres
from tests.support.postgres_versions import binaries
from tests.support.service import online_cluster
from tests.support.upgrading import Site
from tests.support.waiting import wait_until

VERSIONS = ("12", "13", "14", "16", "17")
SHOP = """
CREATE SCHEMA stock;
CREATE TYPE stock.mood AS ENUM ('fine', 'poor');
CREATE DOMAIN stock.amount AS int CHECK (VALUE >= 0);
CREATE TABLE goods (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    label text NOT NULL,
    amount stock.amount,
    mood stock.mood DEFAULT 'fine',
    twice int GENERATED ALWAYS AS (amount * 2) STORED
);
INSERT INTO goods (label, amount) SELECT 'good ' || n, n FROM generate_series(1, 2000) n;
CREATE TABLE parts (day date NOT NULL, n int, PRIMARY KEY (day, n)) PARTITION BY RANGE (day);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2024-02-01') TO ('2024-03-01')
    PARTITION BY HASH (n);
CREATE TABLE parts_2_0 PARTITION OF parts_2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parts_2_1 PARTITION OF parts_2 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE parts_rest PARTITION OF parts DEFAULT;
CREATE INDEX parts_n ON parts (n);
INSERT INTO parts SELECT date '2024-01-01' + n % 90, n FROM generate_series(1, 3000) n;
CREATE TABLE of_part (
    day date, n int, note text, id serial PRIMARY KEY, FOREIGN KEY (day, n) REFERENCES parts
);
INSERT INTO of_part (day, n, note) SELECT day, n, 'note' FROM parts WHERE n % 10 = 0;
CREATE TABLE keyless (n int);
INSERT INTO keyless SELECT generate_series(1, 50);
CREATE UNLOGGED TABLE passing (n int PRIMARY KEY);
INSERT INTO passing SELECT generate_series(1, 20);
CREATE SEQUENCE tickets START 100;
SELECT setval('tickets', 4711);
CREATE MATERIALIZED VIEW sums AS SELECT mood, sum(amount) AS amount FROM goods GROUP BY mood;
CREATE STATISTICS of_goods ON label, mood FROM goods;
CREATE PROCEDURE restock() LANGUAGE sql AS 'UPDATE public.goods SET amount = amount + 1';
SELECT lo_from_bytea(815, 'a large one');
"""
LATER = """
INSERT INTO goods (label, amount) VALUES ('later', 9);
UPDATE goods SET amount = amount + 1 WHERE id <= 10;
DELETE FROM goods WHERE id = 20;
INSERT INTO parts VALUES ('2024-01-15', 9001), ('2024-02-15', 9002), ('2025-01-01', 9003);
UPDATE parts SET day = '2024-02-20' WHERE n = 9001;
DELETE FROM parts WHERE n = 11;
INSERT INTO keyless VALUES (51);
SELECT nextval('tickets');
TRUNCATE of_part;
INSERT INTO of_part (day, n, note) VALUES ('2025-01-01', 9003, 'later');
REFRESH MATERIALIZED VIEW sums;
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with upgrading.site() as found:
        yield found


def with_a_shop(source: PlainPostgres) -> None:
    source.run("SET password_encryption = 'scram-sha-256'; CREATE ROLE shop LOGIN PASSWORD 'secret'")
    source.run("SET password_encryption = 'md5'; CREATE ROLE old LOGIN PASSWORD 'secret'")
    source.run("CREATE DATABASE shop OWNER shop")
    source.run(f"GRANT ALL ON SCHEMA public TO shop; SET ROLE shop; {SHOP}", "shop")
    source.run("GRANT SELECT ON goods TO old", "shop")
    source.run("CREATE TABLE of_superuser (n int PRIMARY KEY); GRANT SELECT ON of_superuser TO shop", "shop")


def target_of(site: Site, version: str) -> str:
    """Return the oldest version of a cluster that takes a source of ``version``; of 12 the newest."""
    return site.newer if int(version) > int(site.older) or version == "12" else site.older


@pytest.mark.parametrize("version", VERSIONS)
def test_all_of_a_source_of_another_version_arrives_and_follows(site: Site, version: str) -> None:
    if int(version) > int(site.newer):
        pytest.skip(f"no PostgreSQL {version} for a cluster")
    with plain_postgres(binaries=binaries(version)) as source:
        with_a_shop(source)
        assert rows(source.uri(), "SHOW server_version")[0][0].startswith(version)
        before = state(source, ("shop",))
        cluster = online_cluster(site.client, f"from-{version}", version=target_of(site, version))
        migration = Migration(site.client, cluster["id"])
        begun = migration.start(source)
        assert begun["cenote"]["method"] == "logical"
        migration.reaches("syncing", 120)
        source.run(LATER, "shop")
        caught_up = wait_until(
            "the lag is told", 60, lambda: migration.now()["cenote"]["lag_bytes"] is not None
        )
        assert caught_up
        done = migration.finish()

        here, there = source.uri("shop"), uri_of(cluster, "shop")
        told = " ".join(done["cenote"]["warnings"])
        assert "does not tell the passwords of old" in told
        left_out = [line for line in done["cenote"]["warnings"] if line.startswith("Left out")]
        assert all("schema public" in line for line in left_out), left_out
        with reading_all(cluster, "shop"):
            assert checksums(there) == checksums(here)
            for query in (
                "SELECT last_value, is_called FROM tickets",
                "SELECT last_value, is_called FROM goods_id_seq",
                "SELECT convert_from(lo_get(815), 'UTF8')",
                "SELECT relname, relkind::text, relispartition, relowner::regrole::text FROM pg_class"
                " WHERE relnamespace IN ('public'::regnamespace, 'stock'::regnamespace)"
                " AND relname NOT LIKE 'of_superuser%'",
                "SELECT conrelid::regclass::text, contype::text, convalidated, pg_get_constraintdef(oid)"
                " FROM pg_constraint WHERE conrelid::regclass::text !~ '^pg_' AND contype <> 'n'"
                " ORDER BY 1, 2, 4",
            ):
                assert sorted(rows(there, query)) == sorted(rows(here, query))
        granted = "SELECT has_table_privilege('shop', 'of_superuser', 'SELECT'),"
        assert rows(there, f"{granted} has_table_privilege('old', 'goods', 'SELECT')") == [(True, True)]
        shop = login(cluster["connection"]["uri"], "shop", "secret", "shop")
        assert rows(shop, "INSERT INTO goods (label, amount) VALUES ('own', 7) RETURNING id, twice") == [
            (2002, 14)
        ]
        assert state(source, ("shop",))[1:4] == before[1:4]
        site.client.request("DELETE", f"/v2/databases/{cluster['id']}")


def test_one_that_is_given_up_leaves_the_oldest_source_as_it_was(site: Site) -> None:
    with plain_postgres(binaries=binaries("12")) as source:
        with_a_shop(source)
        before = state(source, ("shop",))
        cluster = site.made("given-up-12")
        migration = Migration(site.client, cluster["id"])
        migration.start(source, cenote={"replica_identity_full": True})
        migration.reaches("syncing", 120)
        migration.stop(discard=True)
        migration.reaches("canceled")
        assert state(source, ("shop",)) == before
        site.client.request("DELETE", f"/v2/databases/{cluster['id']}")


def test_a_source_that_is_newer_than_the_cluster_is_refused_in_words(site: Site) -> None:
    with plain_postgres(binaries=binaries("18")) as source:
        for version in {site.older, site.newer} - {"18"}:
            cluster = online_cluster(site.client, f"older-{version}", version=version)
            migration = Migration(site.client, cluster["id"])
            source.run("CREATE DATABASE shop")
            with pytest.raises(InvalidError) as refused:
                migration.start(source)
            assert f"the source is PostgreSQL 18, and the cluster {version}" in str(refused.value)
            if int(site.newer) < 18:
                assert f"not installed here, where {site.newer} is the newest" in str(refused.value)
            source.run("DROP DATABASE shop")
            site.client.request("DELETE", f"/v2/databases/{cluster['id']}")
