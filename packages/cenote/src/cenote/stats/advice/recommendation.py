"""The recommendations of the pool advice: a sentence, the numbers behind it, and possible actions."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from cenote.model.records import PoolMode


class AdviceSeverity(StrEnum):
    PROBLEM = "problem"  # clients are affected now
    HINT = "hint"  # possible improvement
    NOTE = "note"  # information


class ActionKind(StrEnum):
    RESIZE_POOL = "resize_pool"
    CHANGE_MODE = "change_mode"
    RESIZE_CLUSTER = "resize_cluster"


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """A possible action; ``words`` label its button.  ``pool`` may differ from that of the advice."""

    kind: ActionKind
    words: str
    pool: str = ""
    size: int = 0
    mode: PoolMode | None = None
    cluster_size: str = ""


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """``numbers`` are the figures behind it, ``since`` is Unix time; an empty ``pool`` means all pools."""

    kind: str
    pool: str
    severity: AdviceSeverity
    sentence: str
    numbers: dict[str, float] = {}
    since: float | None = None
    actions: tuple[Action, ...] = ()
    breaks: tuple[str, ...] = ()  # features that an action would break
