"""Which standbys commits wait for, and what that asks of a node that takes over."""

from typing import Any


def insist_on_quorum() -> None:
    """Have Patroni write again which standbys commits wait for, when the server says something else.

    Patroni compares only with what it wrote itself.  So a file that others rewrote, or ALTER SYSTEM, would
    end the waiting for good.
    """
    from patroni.postgresql.config import ConfigHandler

    set_names = ConfigHandler.set_synchronous_standby_names

    def set_again(self: Any, value: str | None) -> Any:
        written = self._server_parameters.get("synchronous_standby_names")
        server = self._postgresql
        if value == written and server.is_primary() and server.synchronous_standby_names() != (value or ""):
            server.query("ALTER SYSTEM RESET synchronous_standby_names")
            self._server_parameters["synchronous_standby_names"] = ""
        return set_names(self, value)

    ConfigHandler.set_synchronous_standby_names = set_again


def take_over_with_all_commits() -> None:
    """Have the node that a switchover names take over with all that was acknowledged, or not at all.

    Patroni has it take over when the former leader is gone, as if that had given up in order.  But that may
    have been lost before, and of three nodes, the other standby may have commits that the named one lacks.
    So the named one asks that, as in any failover.  If it lacks something, or cannot know that, twice, it
    takes the request back, and the nodes choose among themselves.
    """
    from patroni.ha import Ha

    is_meant = Ha.manual_failover_process_no_leader

    def meant(self: Any) -> Any:
        failover, name = self.cluster.failover, self.state_handler.name
        found = is_meant(self)
        known = (failover.leader, name)
        is_sure = not (found and failover.candidate == name and self.quorum_commit_mode_is_active())
        if is_sure or all(voter in known for voter in self.cluster.sync.members):
            return found
        others = [member for member in self.cluster.members if member.name != failover.leader]
        if self._is_healthiest_node(others, check_replication_lag=False):
            return found
        # The last WAL may be about to arrive.
        doubted, self._cenote_doubted = getattr(self, "_cenote_doubted", None), failover.version
        if doubted == failover.version:
            self.dcs.manual_failover("", "", version=failover.version)
        return False

    Ha.manual_failover_process_no_leader = meant


def promote_without_former_leader() -> None:
    """Have commits of a cluster of two nodes not wait, after a switchover, for the node that has given up.

    Patroni itself releases them so, once it has seen for some rounds that no standby is there, and by the
    same steps: first the store says that no other node has all commits, so that none can take over; then the
    server is told.  With more nodes, the others are there.
    """
    from patroni.ha import Ha

    is_meant, prepare = Ha.manual_failover_process_no_leader, Ha.process_sync_replication_prepromote

    def meant(self: Any) -> Any:
        failover = self.cluster.failover
        found = is_meant(self)
        self._cenote_source = failover.leader if found and failover.candidate else None
        return found

    def prepared(self: Any) -> Any:
        source, self._cenote_source = getattr(self, "_cenote_source", None), None
        sync = self.cluster.sync
        is_active = source and self.quorum_commit_mode_is_active() and sync.leader == source
        if not is_active or any(name not in (source, self.state_handler.name) for name in sync.members):
            return prepare(self)
        if not self.dcs.write_sync_state(self.state_handler.name, None, 0, version=sync.version):
            return False
        self.state_handler.sync_handler.set_synchronous_standby_names([])
        return True

    Ha.manual_failover_process_no_leader, Ha.process_sync_replication_prepromote = meant, prepared
