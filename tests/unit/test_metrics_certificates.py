"""The certificates of metrics ports: the cluster's CA issues them, and they follow its record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec.structs import replace

from cenote.front.metrics_certificates import MetricsCertificates
from cenote.security import certificates
from cenote.security.sealing import Sealer
from tests.support import records


def test_a_certificate_is_kept_until_names_or_authority_change(tmp_path: Path) -> None:
    sealer = Sealer(tmp_path / "key")
    cluster = records.cluster(sealer, port=1, version="15")
    issuing = MetricsCertificates(sealer)
    first = issuing.of(cluster)
    assert first is not None
    assert certificates.is_issued_by(first, cluster.authority.certificate)
    assert certificates.names_of(first) == cluster.server_names
    assert issuing.of(cluster) is first

    named = issuing.of(replace(cluster, service_names=("db.example.com",)))
    assert named is not None
    assert "db.example.com" in certificates.names_of(named)

    other = records.cluster(sealer, port=1, version="15")
    moved = issuing.of(replace(cluster, authority=other.authority))
    assert moved is not None
    assert certificates.is_issued_by(moved, other.authority.certificate)

    now = datetime.now(UTC)
    for elsewhen in (timedelta(days=400), timedelta(0)):  # ahead, and put right
        by_clock = issuing.of(replace(cluster, authority=other.authority), now + elsewhen)
        assert by_clock is not None
        assert certificates.chain_validity(by_clock).covers(now + elsewhen)

    issuing.forget(cluster.id)
    assert issuing.of(cluster) not in (None, first)


def test_a_key_that_does_not_open_gives_no_certificate(tmp_path: Path) -> None:
    cluster = records.cluster(Sealer(tmp_path / "another"), port=1, version="15")
    assert MetricsCertificates(Sealer(tmp_path / "key")).of(cluster) is None
