"""What Patroni makes of its configuration."""

import os
import socket
from typing import Any

SHORTEST_TTL = 5  # seconds; Patroni takes 20 at least, which is how long a lost primary would be missed


def allow_short_ttl() -> None:
    from patroni.config import Config

    name = "_Config__get_and_maybe_adjust_int_value"
    adjust = getattr(Config, name)

    def adjusted(self: Any, config: dict[str, Any], parameter: str, least: int) -> Any:
        return adjust(self, config, parameter, min(least, SHORTEST_TTL) if parameter == "ttl" else least)

    setattr(Config, name, adjusted)


def listen(address: str) -> None:
    """Choose a free port for Patroni's own API."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((address, 0))
        port = probe.getsockname()[1]
    shown = f"[{address}]" if ":" in address else address
    os.environ["PATRONI_RESTAPI_LISTEN"] = os.environ["PATRONI_RESTAPI_CONNECT_ADDRESS"] = f"{shown}:{port}"


def keep_wanted_settings() -> None:
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
