"""Recommendations for the pools of a cluster, an extension of Cenote."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from http import HTTPMethod

import msgspec
from msgspec import UNSET, UnsetType

from cenote.api.auth import READ
from cenote.api.call import Call
from cenote.api.operation import answer, operation
from cenote.api.pool_history import histories_of
from cenote.api.service import CachedAdvice, Service
from cenote.http.routing import Response
from cenote.model.records import Cluster, PoolMode
from cenote.stats.advice import Action, ActionKind, Advice, AdviceSeverity, advise
from cenote.stats.facts import gather
from cenote.stats.history import DAY_MINUTES


class ActionView(msgspec.Struct, kw_only=True):
    """A suggested change with the label of a button: a new size or mode of a pool, or size of a cluster."""

    kind: ActionKind
    words: str
    pool: str | UnsetType = UNSET
    size: int | UnsetType = UNSET
    mode: PoolMode | UnsetType = UNSET
    cluster_size: str | UnsetType = UNSET


class AdviceView(msgspec.Struct, kw_only=True):
    """``numbers`` are the measurements, ``breaks`` what the action breaks; without ``pool`` for all."""

    kind: str
    pool: str | UnsetType = UNSET
    severity: AdviceSeverity
    sentence: str
    numbers: dict[str, float]
    since: datetime | UnsetType = UNSET
    actions: list[ActionView]
    breaks: list[str]


class PoolAdviceAnswer(msgspec.Struct, kw_only=True):
    """``not_counted`` names the hosts whose poolers did not answer, and why; it is left out without any."""

    advice: list[AdviceView]
    not_counted: list[str] | UnsetType = UNSET


@operation(
    HTTPMethod.GET,
    "/v2/databases/{database_cluster_uuid}/pool_advice",
    scope=READ,
    answer=PoolAdviceAnswer,
    also=(503,),
)
async def list_pool_advice(request: Call) -> Response:
    """List recommendations for the pools of a cluster, most urgent first.

    They are based on the history of the pools, on all hosts of the cluster. A pool with too short a history
    has none.
    """
    return answer(await current_advice(request.service, request.cluster().value))


async def current_advice(service: Service, cluster: Cluster) -> PoolAdviceAnswer:
    """Return the advice, cached for some seconds, since evaluating a day of many pools takes a while."""
    now, oldest = time.monotonic(), service.timing.advice_max_age
    for id in [id for id, one in service.advice.items() if now - one.at > oldest]:
        del service.advice[id]
    kept = service.advice.get(cluster.id)
    if kept is None or kept.cluster is not cluster:  # it has changed
        past = await histories_of(service, cluster, DAY_MINUTES)
        facts = gather(cluster, past.histories, past.now, complete=not past.not_counted)
        kept = CachedAdvice(now, cluster, tuple(advise(facts)), tuple(past.not_counted))
        service.advice[cluster.id] = kept
    return PoolAdviceAnswer(
        advice=[_view(one) for one in kept.advice], not_counted=list(kept.not_counted) or UNSET
    )


def _view(one: Advice) -> AdviceView:
    return AdviceView(
        kind=one.kind,
        pool=one.pool or UNSET,
        severity=one.severity,
        sentence=one.sentence,
        numbers={name: round(number, 4) for name, number in one.numbers.items()},
        since=UNSET if one.since is None else datetime.fromtimestamp(int(one.since), UTC),
        actions=[_action_view(action) for action in one.actions],
        breaks=list(one.breaks),
    )


def _action_view(action: Action) -> ActionView:
    return ActionView(
        kind=action.kind,
        words=action.words,
        pool=action.pool or UNSET,
        size=action.size or UNSET,
        mode=action.mode or UNSET,
        cluster_size=action.cluster_size or UNSET,
    )


ROUTES = (list_pool_advice,)
