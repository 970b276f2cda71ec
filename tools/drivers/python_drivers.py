"""psycopg, psycopg2, asyncpg, pg8000 and ODBC; the first argument is the driver, the second one a case."""

import asyncio
import os
import ssl
import sys
import time

driver, case = sys.argv[1:3]
client, rounds, at = int(os.environ["CLIENT"]), int(os.environ["ROUNDS"]), float(os.environ["AT"])
counts = {"right": 0, "wrong": 0, "failed": 0}
first = ""


def texts(mark):
    return [f"SELECT {mark} + {client} * 1000 + {text} * 100000" for text in range(3)]


def count(answer, i, text):
    counts["right" if answer == i + client * 1000 + text * 100000 else "wrong"] += 1


def fail(error):
    global first
    first = first or f"{type(error).__name__}: " + " ".join(str(error).split())
    counts["failed"] += 1


def without_verification():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def rows(execute, mark):
    time.sleep(max(0, at - time.time()))
    for i in range(rounds):
        for text, sql in enumerate(texts(mark)):
            try:
                count(execute(sql, i), i, text)
            except Exception as error:
                fail(error)


def with_psycopg():
    import psycopg

    db = psycopg.connect("", autocommit=True)
    if case == "no-prepare":
        db.prepare_threshold = None
    if case == "evicting":
        db.prepare_threshold, db.prepared_max = 0, 1
    rows(lambda sql, i: db.execute(sql, [i]).fetchone()[0], "%s::int")


def with_psycopg2():
    import psycopg2

    db = psycopg2.connect("")
    db.autocommit = True

    def execute(sql, i):
        cursor = db.cursor()
        cursor.execute(sql, [i])
        return cursor.fetchone()[0]

    rows(execute, "%s::int")


def with_pg8000():
    import pg8000

    env = os.environ
    settings = {
        "host": env["PGHOST"],
        "port": int(env["PGPORT"]),
        "user": env["PGUSER"],
        "password": env["PGPASSWORD"],
    }
    secure = {"ssl_context": without_verification()} if case != "old" else {"ssl": True}
    db = pg8000.connect(database=env["PGDATABASE"], **settings, **secure)
    db.autocommit = case != "transactions"

    def execute(sql, i):
        cursor = db.cursor()
        cursor.execute(sql, [i])
        answer = cursor.fetchone()[0]
        if not db.autocommit:
            db.commit()
        return answer

    rows(execute, "CAST(%s AS int)")


def with_odbc():
    import pyodbc

    env = os.environ
    fields = {
        "Driver": "PostgreSQL Unicode",
        "Server": env["PGHOST"],
        "Port": env["PGPORT"],
        "Database": env["PGDATABASE"],
        "Uid": env["PGUSER"],
        "Pwd": env["PGPASSWORD"],
        "SSLmode": "require",
    }
    if case == "no-prepare":
        fields["UseServerSidePrepare"] = "0"
    db = pyodbc.connect(";".join(f"{key}={value}" for key, value in fields.items()), autocommit=True)
    cursor = db.cursor()
    rows(lambda sql, i: cursor.execute(sql, i).fetchone()[0], "CAST(? AS int)")


async def with_asyncpg():
    import asyncpg

    options = {} if case == "plain" else {"statement_cache_size": 1 if case == "evicting" else 0}
    db = await asyncpg.connect(ssl=without_verification(), **options)
    await asyncio.sleep(max(0, at - time.time()))
    for i in range(rounds):
        for text, sql in enumerate(texts("$1::int")):
            try:
                count(await db.fetchval(sql, i), i, text)
            except Exception as error:
                fail(error)


if driver == "asyncpg":
    asyncio.run(with_asyncpg())
else:
    globals()[f"with_{driver}"]()
print(*counts.values(), first)
