"""The names of clusters: in certificates, and in a name server."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from cenote.controller import plans
from cenote.errors import Misconfigured
from cenote.model.fleet_records import Host, HostDomain
from cenote.model.records import Cluster, Move, MoveStage, Node
from cenote.rules import host_names
from cenote.security import tsig_keys
from cenote.server.name_server_settings import NameServerSettings
from cenote.server.settings import ServeSettings
from tests.support.etcd import bare_cluster

KEY = (
    'key "cenote" {\n\talgorithm hmac-sha256;\n\tsecret "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";\n};\n'
)


def host(id: str, address: str) -> Host:
    return Host(
        id=id,
        name=id,
        address=address,
        memory_mib=1,
        cpus=1,
        versions={},
        first_port=1,
        last_port=2,
    )


HOSTS = {one.id: one for one in (host("a", "10.0.0.1"), host("b", "db2.example.com"), host("c", "localhost"))}


def cluster(*hosts: str, name: str = "orders", move: Move | None = None) -> Cluster:
    nodes = tuple(
        Node(name=f"node-{number}", host=id, port=25060, pool_port=25061)
        for number, id in enumerate(hosts, 1)
    )
    return replace(bare_cluster(name, 25060), nodes=nodes, move=move)


def moving(stage: MoveStage) -> Cluster:
    one = cluster("a", "b")
    return replace(one, move=Move(source="node-1", target="node-2", asked_at=one.created_at, stage=stage))


def test_a_certificate_names_the_hosts_of_all_nodes_and_both_names_in_the_domain() -> None:
    named = plans.with_server_names(cluster("a", "b"), HOSTS, ["db.example.com"])
    assert named.server_names == (
        *("orders.db.example.com", "private-orders.db.example.com"),
        *("replica-orders.db.example.com", "private-replica-orders.db.example.com"),
        *("10.0.0.1", "db2.example.com"),
        *host_names.LOOPBACK,
    )
    assert plans.with_server_names(named, HOSTS, ["db.example.com"]) is named


def test_the_target_of_a_move_is_in_the_certificate_before_the_switch() -> None:
    named = plans.with_server_names(moving(MoveStage.COPYING), HOSTS, [])
    assert {"10.0.0.1", "db2.example.com"} <= set(named.server_names)
    domain = plans.with_server_names(moving(MoveStage.COPYING), HOSTS, ["db.example.com"])
    assert not any("replica-" in name for name in domain.server_names), "it is no standby"


def test_no_name_is_taken_away_while_a_host_is_not_known() -> None:
    unknown = cluster("a", "elsewhere")
    assert plans.with_server_names(unknown, HOSTS, []) is unknown


def test_a_host_without_the_domain_of_the_others_takes_no_name_away() -> None:
    found = [HostDomain(domain="db.example.com")]
    assert host_names.domains_of(found, None) == ("db.example.com",)
    assert host_names.domains_of(found, "other.example.com") == ("other.example.com", "db.example.com")
    assert host_names.domain_of(found) == "db.example.com"
    assert host_names.domain_of([]) is None


def test_names_lead_to_the_writer_also_during_a_move() -> None:
    for stage, target in (
        (MoveStage.COPYING, "10.0.0.1"),
        (MoveStage.SWITCHING, "10.0.0.1"),
        (MoveStage.LEAVING, "db2.example.com"),
    ):
        wanted = host_names.wanted_in_dns(moving(stage), HOSTS, "db.example.com")
        assert wanted == {
            "orders.db.example.com": target,
            "private-orders.db.example.com": target,
        }


def test_names_of_standbys_lead_to_one_wherever_the_primary_is() -> None:
    for leader, primary, standby in (
        (None, "10.0.0.1", "db2.example.com"),
        ("node-2", "db2.example.com", "10.0.0.1"),
    ):
        assert host_names.wanted_in_dns(cluster("a", "b"), HOSTS, "db.example.com", leader) == {
            "orders.db.example.com": primary,
            "private-orders.db.example.com": primary,
            "replica-orders.db.example.com": standby,
            "private-replica-orders.db.example.com": standby,
        }
    outer, inner = host_names.of_standby("o" * 50, "db.example.com")
    assert outer == inner, "no label is that long"


def test_what_is_no_label_and_what_leads_nowhere_does_not_go_into_a_zone() -> None:
    longest = "x" * 63  # of a cluster from before the domain, so that its private name is too long
    assert host_names.wanted_in_dns(cluster("c", name=longest), HOSTS, "db.example.com") == {
        f"{longest}.db.example.com": ""
    }


@pytest.mark.parametrize(
    "text", ["", "a..b", "-a.example", "a_b.example", "A.example", "x" * 64, "a.é", "a b"]
)
def test_what_is_no_domain_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured, match="--domain must be"):
        ServeSettings(domain=text).check()


@pytest.mark.parametrize("text", ["", "a b", "x@evil", "a/b", "é", "fe80::1%eth0", "a\n", "-", "10.0.0.1:80"])
def test_an_address_that_could_be_something_else_in_a_uri_is_not_used(text: str) -> None:
    assert host_names.address_of(cluster("x").nodes[0], {"x": host("x", text)}) is None


def test_the_key_is_read_as_tsig_keygen_prints_it_and_hides_its_secret() -> None:
    key = tsig_keys.parse(f"# a comment; with {{ braces\n{KEY}// the end")
    assert (key.name, key.algorithm) == ("cenote", "hmac-sha256")
    assert key.secret.reveal().startswith("MDEy")
    assert "MDEy" not in repr(key)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has 0 keys"),
        (KEY + KEY, "has 2 keys"),
        (KEY.replace("hmac-sha256", "hmac-md5"), "algorithm"),
        (KEY.replace("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "c2hvcnQ="), "secret"),
        (KEY.replace("secret", "segreto"), "secret"),
    ],
)
def test_another_text_is_refused_without_a_word_of_it(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        tsig_keys.parse(text)
    assert "MDEy" not in str(refused.value)


def settings(folder: Path, server: str = "192.0.2.1", zone: str = "example.com") -> NameServerSettings:
    path = folder / "key"
    path.write_text(KEY)
    path.chmod(0o600)
    return NameServerSettings(server, path, zone)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("192.0.2.1:5353", ("192.0.2.1", 5353)),
        ("2001:db8::1", ("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
        ("ns1.example.com:53", ("ns1.example.com", 53)),
    ],
)
def test_a_name_server_has_an_address_and_a_port(text: str, address: tuple[str, int], tmp_path: Path) -> None:
    assert settings(tmp_path, text).address == address


@pytest.mark.parametrize("text", ["", ":53", "ns1:0", "ns1:65536", "https://ns1", "a b", "ns1..example.com"])
def test_what_is_no_name_server_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="--dns-server"):
        settings(tmp_path, text).check("db.example.com")


def test_the_domain_has_to_be_in_the_zone_and_the_key_the_owners_alone(tmp_path: Path) -> None:
    given = settings(tmp_path)
    given.check("example.com")
    given.check("db.example.com")
    with pytest.raises(Misconfigured, match="is not in --dns-zone"):
        given.check("dbexample.com")
    for mode in (0o640, 0o604):
        given.key_file.chmod(mode)
        with pytest.raises(Misconfigured, match="chmod 600"):
            given.check("db.example.com")
    given.key_file.unlink()
    with pytest.raises(Misconfigured, match="cannot be read"):
        given.check("db.example.com")
    with pytest.raises(Misconfigured, match="needs --domain"):
        ServeSettings(dns=given).check()
