"""Names of clusters in a real name server, kept there by a real service."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from cenote.controller.election import Election
from cenote.controller.name_server import NameServer
from cenote.controller.names import NameRefused, Names
from cenote.errors import Unavailable
from cenote.model.fleet_records import NameInDns
from cenote.model.timing import Timing
from cenote.security import tsig_keys
from cenote.store import PrivateEtcd
from tests.support.etcd import opened_store, with_etcd
from tests.support.folders import server_folder
from tests.support.name_server import ZONE, ZoneServer, key_file, name_server
from tests.support.service import Service, answer_of, ca_file, online_cluster, run_cenote, service
from tests.support.waiting import wait_until, wait_until_async


@pytest.fixture
def zone(tmp_path: Path) -> Any:
    with name_server(tmp_path / "knot") as server:
        yield server


def options(zone: ZoneServer, folder: Path, **key: str) -> tuple[str, ...]:
    path = key_file(folder, **key)
    return (f"--domain={ZONE}", f"--dns-server=127.0.0.1:{zone.port}", f"--dns-key-file={path}")


def not_in_force(client: Any, cluster: Any) -> list[str]:
    found = client.databases.get_cluster(cluster["id"])["database"]["cenote"]
    return list(found.get("not_in_force", []))


def answers(uri: str, checked: dict[str, str]) -> bool:
    try:
        return bool(answer_of(uri, **checked) == 42)
    except psycopg.OperationalError:
        return False


def test_an_update_of_a_controller_that_was_replaced_is_refused(zone: ZoneServer, tmp_path: Path) -> None:
    key = tsig_keys.parse(key_file(tmp_path).read_text())
    name = f"orders.{ZONE}"

    def server(store: str) -> NameServer:
        return NameServer("127.0.0.1", zone.port, ZONE, key, store)

    async def at_once() -> None:
        pass

    async def scenario() -> None:
        claims = 0

        async def late() -> None:
            """Meanwhile another controller has set it; what is elected no longer may not try again."""
            nonlocal claims
            claims += 1
            if claims == 1:
                await server("a").set(name, "192.0.2.2", at_once)
            else:
                raise Unavailable("no longer elected")

        for target in ("192.0.2.1", "192.0.2.3"):  # for a name that is not there, and for one that is
            claims = 0
            with pytest.raises(Unavailable):
                await server("a").set(name, target, late)
            assert await server("a").targets(name) == {"192.0.2.2"}
        claims = 0
        with pytest.raises(Unavailable):
            await server("a").remove(name, late)
        assert zone.leads_to("orders") == {"192.0.2.2"}
        with pytest.raises(NameRefused, match="another Cenote"):
            await server("b").set(name, "192.0.2.9", at_once)
        await server("b").remove(name, at_once)
        assert zone.leads_to("orders") == {"192.0.2.2"}
        await server("a").set(name, "2001:db8::1", at_once)
        assert zone.leads_to("orders") == {"2001:db8::1"}
        await server("a").remove(name, at_once)
        assert not zone.leads_to("orders")

    asyncio.run(scenario())


def test_a_removal_that_is_raced_again_and_again_is_not_forgotten(zone: ZoneServer, tmp_path: Path) -> None:
    key = tsig_keys.parse(key_file(tmp_path).read_text())
    name, server = f"orders.{ZONE}", NameServer("127.0.0.1", zone.port, ZONE, key, "a")

    async def at_once() -> None:
        pass

    async def raced() -> None:
        await server.set(name, "192.0.2.2", at_once)

    async def scenario() -> None:
        await server.set(name, "192.0.2.1", at_once)
        with pytest.raises(NameRefused, match="all the time"):
            await server.remove(name, raced)
        assert zone.leads_to("orders") == {"192.0.2.2"}

    asyncio.run(scenario())


class _Keeping:
    """A name server that lets no name go until it is told to."""

    lets_go = False

    def has(self, _: str) -> bool:
        return True

    async def remove(self, _: str, claim: Any) -> None:
        await claim()
        if not self.lets_go:
            raise NameRefused("it is kept")


def test_a_removal_that_is_refused_is_told_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    name, cluster_id = "orders.db.example.test", uuid4()

    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            election = Election(store.client, store.keys.controller, "here", "d")
            standing = asyncio.create_task(election.run())
            await election.elected.wait()
            known, server = store.names_in_dns, _Keeping()
            await known.put(name, NameInDns(cluster_id=cluster_id, target="192.0.2.1"), election.condition())
            given: Any = server
            names = Names(store, election, "db.example.test", given, Timing(names_retry_max=0.2))
            running = asyncio.create_task(names.run())

            def problem() -> str:
                found = known.get(name)
                return "" if found is None else found.problem

            await wait_until_async("it is told", 10, lambda: problem() == "it is kept")
            for _ in range(20):
                store.notify({cluster_id})
                await asyncio.sleep(0.01)
            assert len(names._timers) <= 1
            server.lets_go = True
            await wait_until_async("the name is gone", 10, lambda: known.get(name) is None)
            for task in (running, standing):
                task.cancel()
            await asyncio.wait([running, standing])

    with_etcd(scenario)
    assert caplog.text.count("orders.db.example.test cannot be removed: it is kept") == 1


def test_names_follow_clusters_and_their_hosts(zone: ZoneServer, tmp_path: Path) -> None:
    given = options(zone, tmp_path)

    def leads_here(name: str) -> bool:
        return zone.leads_to(name) == {"127.0.1.7"}

    with server_folder() as folder:
        here = Service(folder, "--host=127.0.1.7", *given)
        try:
            here.start()
            with here.client() as client:
                assert not zone.leads_to("orders")
                orders, other = online_cluster(client, "orders"), online_cluster(client, "other")
                assert orders["connection"]["host"] == f"orders.{ZONE}"
                names = ("orders", "private-orders", "other", "private-other")
                wait_until("all lead there", 10, lambda: all(map(leads_here, names)))
                wait_until("nothing is missing", 10, lambda: not not_in_force(client, orders))
                answer = zone.ask(f"orders.{ZONE}", "A").answer[0]
                assert answer.ttl == 5
                authority = ca_file(client, orders["id"], tmp_path)
                client.databases.destroy_cluster(other["id"])
                wait_until("the names are removed", 10, lambda: not any(map(zone.leads_to, names[2:])))
                assert not zone.texts("_cenote.other")
            here.end()
            moved = Service(folder, "--host=127.0.1.7", "--public-host=db1.example.test", *given)
            moved.first_port, moved.api_port = here.first_port, here.api_port
            moved.start()
            try:
                wait_until("the alias", 15, lambda: zone.leads_to("orders") == {"db1.example.test"})
                assert zone.leads_to("www") == {"192.0.2.9"}
                checked = {"hostaddr": "127.0.1.7", "sslmode": "verify-full", "sslrootcert": authority}
                uri = orders["connection"]["uri"]
                # The certificate is renewed for the address, too.
                renewed = uri.replace(f"orders.{ZONE}", "db1.example.test")
                wait_until("the certificate has the address", 20, lambda: answers(renewed, checked))
                assert answer_of(uri, **checked) == 42
            finally:
                moved.clean_up()
        finally:
            here.clean_up()


def test_a_name_of_somebody_else_is_left_alone_and_told(zone: ZoneServer, tmp_path: Path) -> None:
    with (
        service("--host=127.0.1.7", *options(zone, tmp_path)) as here,
        here.client() as client,
    ):
        cluster = online_cluster(client, "www")
        wait_until("it is told", 10, lambda: "already" in " ".join(not_in_force(client, cluster)))
        assert not_in_force(client, cluster) == [
            f"www.{ZONE} does not lead to 127.0.1.7 for certain: www.{ZONE} is in the name server already, "
            "and is not Cenote's; remove it there, or make the cluster anew by another name"
        ]
        assert zone.leads_to("www") == {"192.0.2.9"}
        client.databases.destroy_cluster(cluster["id"])
        wait_until("the other name goes", 10, lambda: not zone.leads_to("private-www"))
        assert zone.leads_to("www") == {"192.0.2.9"}


def test_a_name_server_that_is_away_hurts_nothing_and_is_told_later(zone: ZoneServer, tmp_path: Path) -> None:
    with (
        service("--host=127.0.1.7", *options(zone, tmp_path)) as here,
        here.client() as client,
    ):
        zone.pause(signal.SIGSTOP)
        cluster = online_cluster(client, "orders")
        wait_until("it is told", 20, lambda: "does not answer" in " ".join(not_in_force(client, cluster)))
        zone.pause(signal.SIGCONT)
        wait_until("the name is there", 20, lambda: zone.leads_to("orders") == {"127.0.1.7"})
        wait_until("nothing is missing", 10, lambda: not not_in_force(client, cluster))


def test_a_wrong_secret_is_told_in_words(zone: ZoneServer, tmp_path: Path) -> None:
    secret = "WFdZMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
    with (
        service("--host=127.0.1.7", *options(zone, tmp_path, secret=secret)) as here,
        here.client() as client,
    ):
        cluster = online_cluster(client, "orders")
        wait_until("it is told", 10, lambda: "another secret" in " ".join(not_in_force(client, cluster)))
        assert secret not in here.log()


def test_doctor_says_whether_the_name_server_can_be_used(zone: ZoneServer, tmp_path: Path) -> None:
    given = options(zone, tmp_path)
    with server_folder() as folder:
        said = run_cenote("doctor", f"--data-dir={folder}", *given).stdout
        assert f"has the zone {ZONE}, and knows the key" in said
        other = run_cenote("doctor", f"--data-dir={folder}", *given, "--domain=db.example.org")
        assert "db.example.org" in other.stdout
        wrong = key_file(tmp_path, "other", "WFdZMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
        refused = run_cenote("doctor", f"--data-dir={folder}", *given[:2], f"--dns-key-file={wrong}")
        assert "does not know the key other" in refused.stdout
        assert (other.returncode, refused.returncode) == (1, 1)
        assert run_cenote("doctor", *given[:2]).returncode == 2


def test_a_key_that_others_may_read_is_refused(zone: ZoneServer, tmp_path: Path) -> None:
    given = options(zone, tmp_path)
    (tmp_path / "cenote.key").chmod(0o644)
    with server_folder() as folder:
        refused = run_cenote("serve", f"--data-dir={folder}", "--port=0", *given)
    assert refused.returncode == 1
    assert "chmod 600" in refused.stderr
