"""A service that lacks something for a while: it goes on with what it has, and is whole again afterwards."""

from __future__ import annotations

import contextlib
import os
import resource
import socket

from cenote_client import CenoteError, Client
from tests.support.service import CENOTE, service
from tests.support.waiting import wait_until

FEW = 180  # file descriptors


def test_clients_that_take_every_file_descriptor_do_not_end_the_service() -> None:
    few = ("sh", "-c", f'ulimit -n {FEW}; exec "$0" "$@"', CENOTE)
    with (
        service("--connections=1000", command=few) as running,
        running.client() as client,
        contextlib.ExitStack() as stack,
    ):
        wait_until("a template is ready", 60, lambda: any(running.data_dir.glob("templates/*.spare")))
        api = running.processes()["api"]

        def is_short() -> bool:
            connection = stack.enter_context(socket.socket())
            connection.settimeout(0.2)
            with contextlib.suppress(OSError):
                connection.connect(("127.0.0.1", running.api_port))
            return len(os.listdir(f"/proc/{api}/fd")) >= FEW

        wait_until("the service is short of descriptors", 60, is_short)
        stack.close()
        wait_until("it answers as before", 60, lambda: bool(client.databases.list_options()))


def test_silent_clients_leave_a_reserve_of_file_descriptors() -> None:
    few = ("sh", "-c", f'ulimit -n {FEW}; exec "$0" "$@"', CENOTE)
    with service(command=few) as running, running.client() as client, contextlib.ExitStack() as stack:

        def is_refused() -> bool:
            connection = stack.enter_context(socket.socket())
            connection.settimeout(0.2)
            with contextlib.suppress(OSError):
                connection.connect(("127.0.0.1", running.api_port))
            return "connections are refused, as there are too many" in running.log()

        wait_until("what is too many is refused", 60, is_refused)
        assert len(os.listdir(f"/proc/{running.processes()['api']}/fd")) < FEW
        # The clients keep their connections open; the service does not.
        wait_until("others are served", 60, lambda: answers(client))


def answers(client: Client) -> bool:
    with contextlib.suppress(CenoteError):
        return bool(client.databases.list_options())
    return False


def test_the_service_takes_as_many_file_descriptors_as_it_may() -> None:
    few = ("sh", "-c", 'ulimit -S -n 256; exec "$0" "$@"', CENOTE)
    with service(command=few) as running:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        assert resource.prlimit(running.pid, resource.RLIMIT_NOFILE)[0] == min(most, 65_536)
