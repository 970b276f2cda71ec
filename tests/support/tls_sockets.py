"""TLS sockets of clients that are closed whenever a connection fails.

The ``ssl`` module closes them when a handshake fails, but not when the server resets the connection before,
as a service does that is killed while a client connects.  pytest makes an error of the warning about it, in
whichever test runs then.
"""

from __future__ import annotations

import ssl


class ClosedWhenReset(ssl.SSLSocket):
    """``wrap_socket`` reads from a connection that has ended, to see whether it was reset."""

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        try:
            return super().recv(buflen, flags)
        except ConnectionError:
            self.close()
            raise


def close_when_reset() -> None:
    """Have all TLS contexts of this process make such sockets."""
    ssl.SSLContext.sslsocket_class = ClosedWhenReset
