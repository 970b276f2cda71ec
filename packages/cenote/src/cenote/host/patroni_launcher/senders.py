"""Processes of a primary that send WAL to standbys: they end when a standby takes nothing any more."""

from typing import Any

OPTIONS = "-c wal_sender_timeout=8s -c tcp_user_timeout=15s"


def end_senders_to_frozen_standbys() -> None:
    """Have the primary end what sends to a standby that takes nothing any more.

    A sender that is put out writes that to its standby first.  While that one is frozen, it would never end,
    and each checkpoint of the primary would wait for it as soon as the slot has to give up WAL: so none would
    be removed until the disk is full.  Options for the sender can stand in ``primary_conninfo`` alone.
    """
    from patroni.postgresql.config import ConfigHandler

    choose, render = ConfigHandler.primary_conninfo_params, ConfigHandler.format_dsn

    def chosen(self: Any, member: Any) -> Any:
        found = choose(self, member)
        return None if found is None else found | {"options": OPTIONS}

    def rendered(self: Any, params: dict[str, Any]) -> Any:
        found = render(self, params)
        return f"{found} options='{OPTIONS}'" if params.get("options") == OPTIONS else found

    ConfigHandler.primary_conninfo_params, ConfigHandler.format_dsn = chosen, rendered
