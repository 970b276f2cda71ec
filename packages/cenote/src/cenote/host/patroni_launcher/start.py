"""Applies all of it, and has Patroni run."""

import os
import sys

from . import lost_data, quorum, senders, server_death, server_start, settings, store_connection, waits


def main(path: str) -> None:
    import yaml

    with open(path, encoding="utf-8") as file:
        configuration = yaml.safe_load(file)
    ours = configuration["cenote"]
    if ours.get("socket"):
        store_connection.connect_by_socket(ours["socket_host"], ours["socket"])
    store_connection.ask_no_learner()
    store_connection.send_at_once()
    settings.allow_short_ttl()
    settings.listen(ours["rest_address"])
    waits.ask_members_shortly()
    quorum.insist_on_quorum()
    senders.end_senders_to_frozen_standbys()
    lost_data.leave_data(os.path.dirname(path))
    lost_data.tell_rewind(os.path.dirname(path))
    waits.pause_no_longer_than_needed()
    quorum.take_over_with_all_commits()
    quorum.promote_without_former_leader()
    settings.keep_wanted_settings()
    server_start.start_by_shell()
    server_death.notice_death(os.path.realpath(configuration["postgresql"]["data_dir"]))

    import patroni.postgresql

    patroni.postgresql.STOP_POLLING_INTERVAL = waits.STOP_POLLING
    from patroni.__main__ import main as run

    sys.argv = ["patroni", path]
    run()
