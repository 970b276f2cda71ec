"""No change, record or setting shows a secret: not in ``repr``, which is what reaches logs and tracebacks."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st
from psycopg.sql import SQL, Literal

from cenote.engine.plan import pooler, postgresql, roles
from cenote.engine.plan.loaded import Loaded
from cenote.model.changes import Change, Program, Reload, Sql, Start, Stop, WriteFile
from cenote.model.pauses import Moment
from cenote.model.record import Secret
from cenote.model.records import CertificateAuthority, Cluster, Database, Node, User
from cenote.server.settings import EtcdSettings, ServeSettings

# Long enough that it cannot stand anywhere by chance.
SECRET = st.text(alphabet="0123456789abcdef", min_size=32, max_size=32).map(lambda text: f"s3cr3t{text}")
PATH = Path("/data/file")


def shown(thing: object) -> str:
    return f"{thing!r} {thing!s} {[thing]} {thing}"


def cluster_with(secret: str) -> Cluster:
    return Cluster(
        id=uuid4(),
        name="backend",
        version="15",
        size="db-s-1vcpu-1gb",
        region="nyc1",
        created_at=datetime.now(UTC),
        storage_mib=1,
        project_id=uuid4(),
        private_network_id=uuid4(),
        authority=CertificateAuthority(certificate="", sealed_key=secret),
        nodes=(Node(name="n", host="h", port=1, pool_port=2),),
        users=(User(name="app", verifier=secret, sealed_password=secret),),
        databases=(Database(name="d"),),
    )


def changes_with(secret: str) -> list[Change]:
    program = Program("PgBouncer", (secret,), PATH, PATH, PATH, PATH, signal.SIGQUIT)
    return [
        WriteFile(PATH, secret.encode()),
        Sql("postgres", "setting up user app", (SQL("ALTER ROLE a PASSWORD {}").format(Literal(secret)),)),
        Start(program, "digest"),
        Reload(program, "digest"),
        Stop(program),
    ]


@given(SECRET)
def test_no_change_shows_a_secret(secret: str) -> None:
    for change in changes_with(secret):
        assert secret not in shown(change)
        assert "s3cr3t" not in shown(change)


@given(SECRET)
def test_no_record_shows_a_secret(secret: str) -> None:
    cluster = cluster_with(secret)
    for record in (Secret(secret), cluster, cluster.users[0], cluster.authority):
        assert secret not in shown(record)


@given(SECRET)
def test_no_setting_shows_a_secret(secret: str) -> None:
    settings = ServeSettings(etcd=EtcdSettings(user="u", password=Secret(secret)))
    assert secret not in shown(settings)


@given(SECRET)
def test_nothing_that_was_seen_shows_a_secret(secret: str) -> None:
    files: dict[Path, bytes | None] = {PATH: secret.encode()}
    loaded = Loaded(None, None)
    for seen in (
        roles.Role(secret, can_login=True, superuser=False, fits_admin=True),
        roles.Seen({"app": roles.Role(secret, True, False, True)}, frozenset()),
        postgresql.Seen(True, files, secret.encode(), loaded, b""),
        pooler.Seen(files, secret.encode(), loaded, False, Moment("boot", 0.0)),
    ):
        assert secret not in shown(seen)
