"""Follows the records and the reports, and does what no agent may: see ``plans.py`` for what.

It acts while it is elected, and each write is conditional on that: a process that was paused and has lost
the lease writes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from cryptography.exceptions import UnsupportedAlgorithm
from msgspec.structs import replace

from cenote.controller import certificates, plans
from cenote.controller.election import Election
from cenote.controller.failover_logins import FailoverLogins
from cenote.controller.host_certificates import HostCertificates
from cenote.controller.mover import Mover
from cenote.controller.names import Names
from cenote.controller.rehearsals import Rehearsals
from cenote.controller.replacer import Replacer
from cenote.controller.switcher import Switcher
from cenote.errors import CenoteError, Conflict, Misconfigured, NotFound, Unavailable
from cenote.model.event_records import EventType, Note
from cenote.model.fleet_records import HostDomain
from cenote.model.records import Cluster, User
from cenote.model.timing import DEFAULT, Timing
from cenote.model.topology import has_standbys, upgraded_alone, writer
from cenote.rules import (
    cluster_backups,
    deletions,
    host_names,
    major_upgrades,
    online_migrations,
    record_formats,
    recoveries,
    replicas,
    upgrades_of_nodes,
)
from cenote.rules.scheduling import NO_LIMITS, Overcommit
from cenote.security import credentials
from cenote.security.backup_passphrases import new_plan
from cenote.security.sealing import Sealer
from cenote.store import Changes, Store, Stored
from cenote.store.encoding import NewerFormat

if TYPE_CHECKING:
    from cenote.controller.name_server import NameServer

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
ADDRESS_SECONDS = 1.0
ADOPTED = Note(
    what="took into its record what its server has and the record had not", type=EventType.CLUSTER_UPDATE
)
RESTORED = Note(what="has its data from the other cluster", type=EventType.CLUSTER_UPDATE)
PROMOTED = Note(what="was promoted: it is a cluster of its own now", type=EventType.CLUSTER_MASTER_PROMOTION)
COPIED_ANEW = Note(
    what="copies the data of its source anew, since it had fallen too far behind",
    type=EventType.CLUSTER_UPDATE,
)
GROWN = Note(what="increased its storage (autoscaling)", type=EventType.CLUSTER_UPDATE)


class Controller:
    """``host_id`` and ``directory`` are of the host that it runs on; see ``Presence``."""

    def __init__(
        self,
        store: Store,
        sealer: Sealer,
        host_id: str,
        directory: str,
        timing: Timing = DEFAULT,
        overcommit: Overcommit = NO_LIMITS,
        domain: HostDomain | None = None,
        name_server: NameServer | None = None,
        host_sealer: Sealer | None = None,
        failover_logins: FailoverLogins | None = None,
        *,
        distinct_hosts: bool = False,
    ) -> None:
        """``domain`` is what this host was started with, ``name_server`` what is told of names in it.

        ``host_sealer`` is of ring ``host``; without it no cluster gets a passphrase for backups.  Without
        ``failover_logins`` Patroni of no cluster gets a login to the store.  With ``distinct_hosts`` nodes
        of a cluster come to share no host.
        """
        self._store, self._sealer, self._timing = store, sealer, timing
        self._host_sealer, self._failover_logins = host_sealer, failover_logins
        self._election = Election(store.client, store.keys.controller, host_id, directory)
        self._mover = Mover(store, self._election, self._write_events, overcommit)
        self._replacer = Replacer(store, self._election, overcommit, distinct_hosts=distinct_hosts)
        self._switcher = Switcher(store, self._election)
        self._host_id, self._host_domain = host_id, domain
        self._domain = None if domain is None else domain.domain
        self._rehearsals = Rehearsals(store, self._election)
        self._names = Names(store, self._election, self._domain or "", name_server, timing)
        self._host_certificates = HostCertificates(store, sealer, self._election, timing)
        self._written: dict[UUID, set[str]] = {}  # the noted events that are known to be written
        self._warned: set[UUID] = set()
        self._due: set[UUID] = set()  # clusters that are looked at soon

    async def run(self) -> None:
        """Run until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._election.run(), name="election")
                group.create_task(self._follow(), name="controller")
                group.create_task(self._mover.run(), name="moves")
                group.create_task(self._replacer.run(), name="replacements of nodes")
                group.create_task(self._switcher.run(), name="switches")
                group.create_task(self._prune(), name="pruning")
                group.create_task(self._announce_domain(), name="announcing the domain")
                group.create_task(self._follow_addresses(), name="addresses of hosts")
                group.create_task(self._names.run(), name="names in DNS")
                group.create_task(self._host_certificates.run(), name="certificates of hosts")
        finally:
            await self._election.resign()

    async def _follow(self) -> None:
        while True:
            await self._election.elected.wait()
            # Subscribed anew after each election, as the former controller's last work is not known.
            self._written.clear()
            with self._store.changes(reports=True) as changes:
                losing = asyncio.create_task(self._end_when_lost(changes), name="end of the election")
                try:
                    async for id in changes:
                        await self._look_at(id)
                finally:
                    losing.cancel()
            if self._election.is_elected and not losing.done():
                return  # the store is closed

    async def _end_when_lost(self, changes: Changes) -> None:
        await self._election.lost.wait()
        changes.close()

    async def _look_at(self, id: UUID) -> None:
        try:
            stored = self._store.cluster(id)
            if stored is not None:
                await self._work_on(stored)
        except NotFound:
            return  # deleted meanwhile
        except NewerFormat:
            return  # a newer version's controller works on it
        except (Unavailable, Conflict) as error:
            log.debug("cluster %s: the controller tries again: %s", id, error)
            self._again(id)
        except CenoteError as error:
            log.warning("cluster %s: %s", id, error)
        except Exception:  # one cluster's record must not end the work on all others
            log.exception("cluster %s: a defect in Cenote", id)

    def _again(self, id: UUID) -> None:
        asyncio.get_running_loop().call_later(RETRY_SECONDS, self._store.notify, {id})

    async def _work_on(self, stored: Stored[Cluster]) -> None:
        cluster = stored.value
        if cluster.deleted_at is None:
            await self._sign_requests(cluster)
        await self._write_events(cluster)
        if cluster.deleted_at is not None:
            self._store.notify(self._rehearsals.of_deleted(cluster))
            await self._work_on_deleted(cluster)
            return
        if deletions.is_back(cluster, self._store.reports(cluster.id), stored.revision):
            await self._change(cluster, lambda one: replace(one, undeletion=None), None)
        if await self._end_upgrade(stored):
            return  # what has changed is looked at again
        await self._end_migration(cluster)
        await self._rehearsals.work_on(cluster)
        if self._rehearsals.is_unnamed(cluster):
            self._later(cluster.id)
        if await self._work_on_replicas(cluster):
            return  # what has changed is looked at again
        await self._change(cluster, self._recovered, self._of_recovery(cluster))
        await self._change(cluster, self._adopted, ADOPTED if cluster.restoration is None else RESTORED)
        await self._change(cluster, self._grown, GROWN)
        await self._change(cluster, self._with_ports, None)
        await self._change(cluster, self._with_server_names, None)
        await self._change(cluster, self._with_backups, None)
        await self._change(cluster, self._with_losses, None)
        await self._settle_login(stored)

    async def _work_on_replicas(self, cluster: Cluster) -> bool:
        """Have the replicas that lack WAL for good copied anew; promote one that is whole, if that was asked.

        Return whether the cluster itself was a replica until now.
        """
        await self._work_on_upgraded(cluster)
        lost = {name for one in self._store.reports(cluster.id).values() for name in one.lost_slots}
        for follower in self._store.replicas(cluster.id) if lost else ():
            if replicas.slot(follower.value) in lost:
                await self._change(follower.value, lambda one: replicas.copied_anew(one, lost), COPIED_ANEW)
        if cluster.replica_of is None:
            return False
        await self._change(cluster, self._without_gap, COPIED_ANEW)
        await self._change(cluster, self._promoted, PROMOTED)
        return self._promoted(cluster) is not cluster

    async def _work_on_upgraded(self, source: Cluster) -> None:
        """Have the replicas of a cluster copied anew that was upgraded to another major version."""
        what = f"copies the data of its source anew, which was upgraded to PostgreSQL {source.version}"
        note = Note(what=what, type=EventType.CLUSTER_UPDATE)
        for follower in self._store.replicas(source.id):
            await self._change(follower.value, self._of_upgraded(source), note)

    def _of_upgraded(self, source: Cluster) -> plans.ChangeOf:
        node = writer(source, self._store.agreed(source.id).leader)
        seen = None if node is None else self._store.status(source.id, node.name)
        return lambda one: replicas.of_upgraded(one, source, seen)

    def _without_gap(self, cluster: Cluster) -> Cluster:
        seen = self._store.status(cluster.id, cluster.nodes[0].name)
        return replicas.without_gap(cluster, seen)

    def _promoted(self, cluster: Cluster) -> Cluster:
        if cluster.replica_of is None or cluster.promote_asked_at is None:
            return cluster
        seen = self._store.status(cluster.id, cluster.nodes[0].name)
        if not replicas.is_whole(cluster, seen):
            return cluster
        return replicas.promoted(cluster, self._store.living_cluster(cluster.replica_of))

    async def _settle_login(self, stored: Stored[Cluster]) -> None:
        if self._failover_logins is None:
            return
        cluster = stored.value
        login = await self._failover_logins.settle(stored, self._store.reports(cluster.id))
        if login != cluster.failover_login:
            former = cluster.failover_login

            def changed(one: Cluster) -> Cluster:
                return replace(one, failover_login=login) if one.failover_login == former else one

            await self._change(cluster, changed, None)

    async def _work_on_deleted(self, cluster: Cluster) -> None:
        reports, condition = self._store.reports(cluster.id), self._election.condition()
        now = self._store.clock.now()
        if deletions.is_removed(cluster, reports) and deletions.is_in_backups(cluster, now):
            if deletions.without_data(cluster, now) is not cluster:
                await self._store.update_cluster(
                    cluster.id, lambda one: deletions.without_data(one, now), None, condition, deleted=True
                )
        elif deletions.is_removed(cluster, reports):
            if cluster.failover_login and self._failover_logins is not None:
                await self._failover_logins.forget(cluster.id)
            await self._store.forget_cluster(cluster.id, condition)
            self._written.pop(cluster.id, None)
        elif deletions.put_away(cluster, reports) is not cluster:
            await self._store.update_cluster(
                cluster.id,
                lambda one: deletions.put_away(one, self._store.reports(one.id)),
                None,
                condition,
                deleted=True,
            )

    async def _sign_requests(self, cluster: Cluster) -> None:
        for host in {node.host for node in cluster.nodes}:
            request = self._store.certificate_request(host, cluster.id)
            if request is None:
                continue
            try:
                pem = certificates.issued(request.value, host, cluster, self._sealer)
                if has_standbys(cluster) and (authority := self._store.joining.authority()) is not None:
                    pem = certificates.with_store(pem, request.value, authority, cluster, self._sealer)
            except (ValueError, UnsupportedAlgorithm, Misconfigured) as error:
                log.error("cluster %s: no certificate for host %s: %s", cluster.name, host, error)
                continue
            await self._store.issue_certificate(
                host, cluster.id, request.revision, pem, self._election.condition()
            )

    async def _write_events(self, cluster: Cluster) -> None:
        reports = self._store.reports(cluster.id).values()
        found = plans.events_of(cluster, reports, datetime.now(UTC))
        if not found:
            return
        written = self._written.get(cluster.id)
        if written is None:
            written = await self._store.event_ids(cluster.id)
        for event in plans.unwritten(found, written):
            await self._store.add_event(event, self._election.condition())
        self._written[cluster.id] = {event.id for event in found}

    async def _change(self, cluster: Cluster, change: plans.ChangeOf, note: Note | None) -> None:
        if change(cluster) is cluster:
            return
        condition = self._election.condition()
        await self._store.update_cluster(cluster.id, change, note, condition)

    async def _end_upgrade(self, stored: Stored[Cluster]) -> bool:
        """Take the mark of an upgrade off that is over, with an event that says how it has ended.

        Return whether the record has changed.
        """
        cluster, reports = stored.value, self._store.reports(stored.value.id)
        if cluster.major_upgrade is not None and cluster.major_upgrade.node:
            return await self._step_upgrade(stored)
        note = major_upgrades.note_of_end(cluster, reports)

        def ended(one: Cluster) -> Cluster:
            return major_upgrades.ended(one, self._store.reports(one.id), self._store.leader(one))

        await self._change(cluster, ended, note)
        return ended(cluster) is not cluster

    async def _step_upgrade(self, stored: Stored[Cluster]) -> bool:
        """Take the upgrade of a cluster with several nodes a step further; return whether that is due."""
        cluster, now = stored.value, self._store.clock.now()
        holder, reports = self._store.agreed(cluster.id).leader, self._store.reports(cluster.id)
        is_away = self._is_away(cluster)
        after = upgrades_of_nodes.stepped(cluster, stored.revision, reports, holder, now, is_away=is_away)
        if after is cluster:
            self._later(cluster.id)  # what it waits for may be a time
            return False
        given_up = upgrades_of_nodes.why_given_up(cluster, reports, holder, now, is_away=is_away)
        if given_up and upgrades_of_nodes.is_lost(cluster, holder):
            await self._lead_without_lost(cluster)
        is_end = after.version != cluster.version or (
            upgraded_alone(cluster) != "" and upgraded_alone(after) == ""
        )
        note = major_upgrades.note_of_end(cluster, reports, given_up) if is_end else None
        await self._change(cluster, lambda one: after if one == cluster else one, note)
        return True

    def _is_away(self, cluster: Cluster) -> bool:
        """Return whether the host of the node that is upgraded does not answer."""
        name, alive = upgraded_alone(cluster), self._store.seen_hosts().alive
        return any(node.name == name and node.host not in alive for node in cluster.nodes)

    async def _lead_without_lost(self, cluster: Cluster) -> None:
        """Let the others take over from the node that was being upgraded; Conflict while it has a lease."""
        mark = cluster.major_upgrade
        assert mark is not None
        is_free = await self._store.failover_requests.lead_without(
            cluster.id,
            mark.node,
            upgrades_of_nodes.candidates(cluster),
            self._election.condition(),
            anew=upgrades_of_nodes.has_new_version(cluster),
        )
        if not is_free:
            raise Conflict(f"{mark.node} still leads, by what the store says")

    def _later(self, id: UUID) -> None:
        """Have a cluster looked at in a while; once, however often this is asked for meanwhile."""
        if id not in self._due:
            self._due.add(id)
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._look_now, id)

    def _look_now(self, id: UUID) -> None:
        self._due.discard(id)
        self._store.notify({id})

    async def _end_migration(self, cluster: Cluster) -> None:
        """Keep how an online migration has ended, with an event."""

        def ended(one: Cluster) -> Cluster:
            return online_migrations.ended(one, self._store.reports(one.id))

        await self._change(cluster, ended, online_migrations.note_of_end(ended(cluster)))

    def _of_recovery(self, cluster: Cluster) -> Note | None:
        """Return the event of a recovery that is over, which tells how far the data reach."""
        restoration = cluster.restoration
        report = None if restoration is None else self._store.reports(cluster.id).get(restoration.node)
        if report is None or report.restored is None:
            return None
        return Note(what=recoveries.in_words(report.restored), type=EventType.CLUSTER_UPDATE)

    def _recovered(self, cluster: Cluster) -> Cluster:
        node = "" if cluster.restoration is None else cluster.restoration.node
        is_over = recoveries.is_over(cluster, self._store.reports(cluster.id).get(node))
        return replace(cluster, restoration=None) if is_over and not cluster.failover_login else cluster

    def _adopted(self, cluster: Cluster) -> Cluster:
        reports, leader = self._store.reports(cluster.id), self._store.leader(cluster)
        return plans.adopted(cluster, reports, self._new_user, leader)

    def _new_user(self, name: str) -> User:
        return credentials.new_user(name, self._sealer)

    def _grown(self, cluster: Cluster) -> Cluster:
        grown = plans.grown(cluster, self._store.reports(cluster.id), self._store.leader(cluster))
        if grown is not cluster:
            log.info("cluster %s: storage increased to %d MiB", cluster.name, grown.storage_mib)
        return grown

    def _with_server_names(self, cluster: Cluster) -> Cluster:
        hosts = self._store.hosts_by_id()
        domains = host_names.domains_of(self._store.names_in_dns.domains(), self._domain)
        return plans.with_server_names(cluster, hosts, domains)

    def _with_losses(self, cluster: Cluster) -> Cluster:
        """Return a cluster with what its former primaries have lost of the WAL."""
        reports = self._store.reports(cluster.id)
        return cluster_backups.with_losses(cluster, reports, self._store.leader(cluster))

    def _with_backups(self, cluster: Cluster) -> Cluster:
        sealer = self._host_sealer
        if sealer is None:
            return cluster
        return plans.with_backups(cluster, self._store.hosts_by_id(), lambda: new_plan(sealer))

    async def _announce_domain(self) -> None:
        while True:
            try:
                return await self._store.names_in_dns.announce(self._host_id, self._host_domain)
            except CenoteError as error:
                log.debug("the domain is announced later: %s", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _follow_addresses(self) -> None:
        """Have clusters looked at that have another domain, or whose host has another address or backups."""
        known = self._addresses()
        while True:
            await asyncio.sleep(ADDRESS_SECONDS)
            now = self._addresses()
            if now == known:
                continue
            moved = {host for host, address in now.items() if known.get(host) != address}
            known = now
            self._store.notify(
                cluster.id
                for cluster in self._store.living_clusters()
                if any(node.host in moved for node in cluster.nodes)
            )

    def _addresses(self) -> dict[str, tuple[str, tuple[str, ...], bool]]:
        hosts = self._store.hosts_by_id()
        domains = host_names.domains_of(self._store.names_in_dns.domains(), self._domain)
        readable = record_formats.are_read(hosts.values())
        return {id: (host.address, domains, readable and bool(host.repository)) for id, host in hosts.items()}

    def _with_ports(self, cluster: Cluster) -> Cluster:
        if all(node.metrics_port for node in cluster.nodes):
            return cluster
        hosts = {host.id: host for host in self._store.known_hosts()}
        claimed = {node.host: self._store.ports(node.host) for node in cluster.nodes}
        changed = plans.with_metrics_ports(cluster, hosts, claimed)
        if changed is cluster and not all(node.metrics_port for node in cluster.nodes):
            if cluster.id not in self._warned:
                log.warning("no port is left for the metrics of cluster %s; widen --ports", cluster.name)
                self._warned.add(cluster.id)
            self._again(cluster.id)
        return changed

    def _kept_too_long(self) -> list[UUID]:
        """Return the deleted clusters that could be undeleted from backups until now."""
        now = self._store.clock.now()
        kept = ((one.value.id, one.value.keep) for one in self._store.clusters())
        return [id for id, keep in kept if keep is not None and keep.backed_up and keep.until <= now]

    async def _prune(self) -> None:
        await asyncio.sleep(self._timing.prune_first)
        while True:
            if self._election.is_elected:
                try:
                    await self._store.prune(self._store.clock.now(), self._election.condition())
                    self._store.notify(self._kept_too_long())
                except CenoteError as error:
                    log.warning("old events and records cannot be removed yet: %s", error)
                except Exception:  # one damaged event must not end the API
                    log.exception("removing old events and records: a defect in Cenote")
            await asyncio.sleep(self._timing.prune_interval)
