"""How Patroni reaches etcd: by a unix socket, never a learner, and without delay."""

import socket
from typing import Any


def connect_by_socket(host: str, place: str) -> None:
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


def ask_no_learner() -> None:
    """Leave out members of the store that only learn, since they answer no question."""
    from patroni.dcs.etcd3 import Etcd3Client

    handle = Etcd3Client._handle_server_response

    def without_learners(self: Any, response: Any) -> Any:
        answer = handle(self, response)
        if "members" in answer:
            answer["members"] = [one for one in answer["members"] if not one.get("isLearner")]
        return answer

    Etcd3Client._handle_server_response = without_learners


def send_at_once() -> None:
    """Send small requests without waiting for more; Patroni replaces urllib3's options for that."""
    from patroni.dcs.etcd3 import Etcd3

    set_options = Etcd3.set_socket_options

    def with_no_delay(self: Any, sock: socket.socket, options: Any) -> None:
        set_options(self, sock, options)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    Etcd3.set_socket_options = with_no_delay
