"""Starts Patroni with what its configuration cannot say.  Patroni's own interpreter runs a copy of this file.

The one argument is the configuration (``conf/patroni.py``).  Its section ``cenote`` is ours:

``socket``: the unix socket of etcd, which Patroni takes for the address ``socket_host``.  Patroni knows TCP
alone, and etcd listens on no port where it needs none.
``rest_address``: where Patroni's own API listens, on a port that is free when it starts; members tell each
other in the store where that is.
"""

import contextlib
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

SHORTEST_TTL = 5  # seconds; Patroni takes 20 at least, which is how long a lost primary would be missed
STOP_POLLING = 0.02  # seconds between two looks whether PostgreSQL has stopped
PAUSE_POLLING = 0.02  # seconds between two looks whether a pause of Patroni's is needed any longer
MEMBER_SECONDS = 1.0  # in which another node says how far it is; one that is cut off would be waited for
SERVER_POLLING = 0.2  # seconds between two looks for a PostgreSQL to watch, while there is none
SENDER_OPTIONS = "-c wal_sender_timeout=8s -c tcp_user_timeout=15s"
END_POLLING, END_SECONDS = 0.005, 1.0  # of the processes that a dead PostgreSQL leaves


def main(path: str) -> None:
    import yaml

    with open(path, encoding="utf-8") as file:
        configuration = yaml.safe_load(file)
    ours = configuration["cenote"]
    if ours.get("socket"):
        _connect_by_socket(ours["socket_host"], ours["socket"])
    _ask_no_learner()
    _send_at_once()
    _allow_short_ttl()
    _listen(ours["rest_address"])
    _ask_members_shortly()
    _insist_on_quorum()
    _end_senders_to_frozen_standbys()
    _leave_data(os.path.dirname(path))
    _pause_no_longer_than_needed()
    _take_over_with_all_commits()
    _promote_without_former_leader()
    _keep_wanted_settings()
    _notice_death(os.path.realpath(configuration["postgresql"]["data_dir"]))

    import patroni.postgresql

    patroni.postgresql.STOP_POLLING_INTERVAL = STOP_POLLING
    from patroni.__main__ import main as run

    sys.argv = ["patroni", path]
    run()


def _connect_by_socket(host: str, place: str) -> None:
    """Have connections to a host go to a unix socket."""
    from urllib3.connection import HTTPConnection

    connect = HTTPConnection._new_conn

    def new_conn(self: Any) -> socket.socket:
        if self.host != host:
            return connect(self)  # type: ignore[no-any-return]
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            timeout = self.timeout
            opened.settimeout(timeout if isinstance(timeout, (int, float)) else None)
            opened.connect(place)
        except BaseException:
            opened.close()
            raise
        return opened

    HTTPConnection._new_conn = new_conn


def _ask_no_learner() -> None:
    """Leave out members of the store that only learn, since they answer no question."""
    from patroni.dcs.etcd3 import Etcd3Client

    handle = Etcd3Client._handle_server_response

    def without_learners(self: Any, response: Any) -> Any:
        answer = handle(self, response)
        if "members" in answer:
            answer["members"] = [one for one in answer["members"] if not one.get("isLearner")]
        return answer

    Etcd3Client._handle_server_response = without_learners


def _send_at_once() -> None:
    """Send small requests without waiting for more; Patroni replaces urllib3's options for that."""
    from patroni.dcs.etcd3 import Etcd3

    set_options = Etcd3.set_socket_options

    def with_no_delay(self: Any, sock: socket.socket, options: Any) -> None:
        set_options(self, sock, options)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    Etcd3.set_socket_options = with_no_delay


def _allow_short_ttl() -> None:
    from patroni.config import Config

    name = "_Config__get_and_maybe_adjust_int_value"
    adjust = getattr(Config, name)

    def adjusted(self: Any, config: dict[str, Any], parameter: str, least: int) -> Any:
        return adjust(self, config, parameter, min(least, SHORTEST_TTL) if parameter == "ttl" else least)

    setattr(Config, name, adjusted)


def _notice_death(data: str) -> None:
    """Have Patroni look at its PostgreSQL as soon as that has ended, instead of in its next round.

    What to do about it is left to Patroni, which gives up the leader key only if it still holds that, and if
    another node can take over.
    """
    from patroni.ha import Ha

    begin = Ha.__init__

    def begin_watched(self: Any, patroni: Any) -> None:
        begin(self, patroni)
        watch = threading.Thread(target=_watch_server, args=(data, self.wakeup), daemon=True)
        watch.start()

    Ha.__init__ = begin_watched


def _watch_server(data: str, on_death: Callable[[], None]) -> None:
    while True:
        server = _server_of(data)
        if server is None:
            time.sleep(SERVER_POLLING)
            continue
        pid, descriptor = server
        try:
            _wait_for_end(descriptor)
        finally:
            os.close(descriptor)
        # A process of the server's may go on for a moment, and to Patroni one that nobody has reaped lives.
        deadline = time.monotonic() + END_SECONDS
        while time.monotonic() < deadline and (os.path.exists(f"/proc/{pid}") or _is_worked_in(data)):
            time.sleep(END_POLLING)
        on_death()


def _wait_for_end(process: int) -> None:
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.poll()


def _server_of(data: str) -> tuple[int, int] | None:
    """Return the pid of the server that works in the data directory, and a descriptor of that process."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open(os.path.join(data, "postmaster.pid"), encoding="utf-8") as file:
            pid = int(file.readline())
        descriptor = os.pidfd_open(pid)
        if _works_in(str(pid), data):  # and no other process has got its pid
            return pid, descriptor
        os.close(descriptor)
    return None


def _is_worked_in(data: str) -> bool:
    return any(_works_in(entry, data) for entry in os.listdir("/proc") if entry.isdigit())


def _works_in(pid: str, data: str) -> bool:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/cwd") == data
    return False


def _ask_members_shortly() -> None:
    """Wait less long for another node's answer about its state; clients wait while a leader is chosen."""
    from patroni.request import PatroniRequest

    ask = PatroniRequest.__call__

    def ask_shortly(self: Any, member: Any, method: str = "GET", *further: Any, **options: Any) -> Any:
        if method == "GET" and "timeout" in options:
            options["timeout"] = min(options["timeout"], MEMBER_SECONDS)
        return ask(self, member, method, *further, **options)

    PatroniRequest.__call__ = ask_shortly


def _leave_data(folder: str) -> None:
    """Have Patroni leave data that cannot follow any more: end, and tell the agent by a file.

    The agent sets them aside and copies those of the primary, with its progress told.  Patroni would remove
    them first.
    """
    from patroni.ha import Ha
    from patroni.postgresql import Postgresql

    def left(*_: Any, **__: Any) -> None:
        with open(os.path.join(folder, "cannot-follow"), "w", encoding="utf-8") as file:
            os.fsync(file.fileno())
        os._exit(1)

    def left_and_stopped(self: Any, *_: Any, **__: Any) -> None:
        self.state_handler.stop("immediate")
        left()

    Ha._do_reinitialize = left_and_stopped
    Postgresql.remove_data_directory = left


def _insist_on_quorum() -> None:
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


def _end_senders_to_frozen_standbys() -> None:
    """Have the primary end what sends to a standby that takes nothing any more.

    A sender that is put out writes that to its standby first.  While that one is frozen, it would never end,
    and each checkpoint of the primary would wait for it as soon as the slot has to give up WAL: so none would
    be removed until the disk is full.  Options for the sender can stand in ``primary_conninfo`` alone.
    """
    from patroni.postgresql.config import ConfigHandler

    choose, render = ConfigHandler.primary_conninfo_params, ConfigHandler.format_dsn

    def chosen(self: Any, member: Any) -> Any:
        found = choose(self, member)
        return None if found is None else found | {"options": SENDER_OPTIONS}

    def rendered(self: Any, params: dict[str, Any]) -> Any:
        found = render(self, params)
        return f"{found} options='{SENDER_OPTIONS}'" if params.get("options") == SENDER_OPTIONS else found

    ConfigHandler.primary_conninfo_params, ConfigHandler.format_dsn = chosen, rendered


def _listen(address: str) -> None:
    """Choose a free port for Patroni's own API."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((address, 0))
        port = probe.getsockname()[1]
    shown = f"[{address}]" if ":" in address else address
    os.environ["PATRONI_RESTAPI_LISTEN"] = os.environ["PATRONI_RESTAPI_CONNECT_ADDRESS"] = f"{shown}:{port}"


def _pause_no_longer_than_needed() -> None:
    """End the pauses that Patroni makes in a switchover as soon as what they are for has happened.

    Before the leader key is released, standbys are given a second to receive the last of the WAL: that has
    happened when no WAL sender is left, since each waits until its standby has it.  After that, two seconds
    are left for another node to take the key, on the node that gave it up and on those that are not meant.
    Clients of the cluster wait meanwhile, or commits for these standbys.

    Nor is a checkpoint made before a server is stopped for a switchover: there was one right before clients
    began to wait, and there is another as the server ends.
    """
    import patroni.ha
    from patroni.ha import Ha
    from patroni.postgresql import Postgresql

    needed = threading.local()
    demote, lose, stop = Ha.demote, Ha.process_unhealthy_cluster, Postgresql.stop

    def demote_soon(self: Any, mode: str) -> Any:
        needed.until = {2: lambda: _is_led(self)}
        try:
            return demote(self, mode)
        finally:
            needed.until = {}

    def lose_soon(self: Any) -> Any:
        needed.until = {2: lambda: _is_led(self)}
        try:
            return lose(self)
        finally:
            needed.until = {}

    def stop_soon(self: Any, *arguments: Any, **options: Any) -> Any:
        server = self.is_running()
        if server and getattr(needed, "until", None):
            needed.until[1] = lambda: not _has_senders(server)
            options["checkpoint"] = False
        return stop(self, *arguments, **options)

    class Clock:
        """Stands for the module ``time`` in Patroni's own."""

        def __getattr__(self, name: str) -> Any:
            return getattr(time, name)

        def sleep(self, seconds: float) -> None:
            is_over = getattr(needed, "until", {}).get(seconds)
            _sleep(seconds, is_over or (lambda: False))

    Ha.demote, Ha.process_unhealthy_cluster, Postgresql.stop = demote_soon, lose_soon, stop_soon
    patroni.ha.time = Clock()


def _sleep(seconds: float, is_over: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not is_over() and (left := end - time.monotonic()) > 0:
        time.sleep(min(PAUSE_POLLING, left))


def _is_led(ha: Any) -> bool:
    """Return whether another node has the leader key."""
    from patroni.exceptions import DCSError

    try:
        leader = ha.dcs.get_cluster().leader
    except DCSError:
        return False
    return leader is not None and bool(leader.name) and leader.name != ha.state_handler.name


def _has_senders(server: Any) -> bool:
    import psutil

    with contextlib.suppress(psutil.Error):  # it has ended
        for child in server.children():
            with contextlib.suppress(psutil.Error):
                if any("walsender " in part or "wal sender " in part for part in child.cmdline()[:1]):
                    return True
    return False


def _take_over_with_all_commits() -> None:
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


def _promote_without_former_leader() -> None:
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


def _keep_wanted_settings() -> None:
    """Have a server that ran before Patroni did get at its next restart what the store says.

    Patroni takes over what such a server has on its command line, and a standby would keep that until the
    configuration is changed once more.
    """
    from patroni.postgresql.config import ConfigHandler

    load = ConfigHandler.load_current_server_parameters

    def loaded(self: Any) -> None:
        wanted = self._server_parameters
        load(self)
        for name in self.CMDLINE_OPTIONS:
            if name in wanted:
                self._server_parameters[name] = wanted[name]

    ConfigHandler.load_current_server_parameters = loaded


if __name__ == "__main__":
    main(sys.argv[1])
