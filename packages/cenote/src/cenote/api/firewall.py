"""Trusted sources of a cluster: list, replace."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPMethod
from typing import Any

import msgspec
from msgspec.structs import replace

from cenote.api import schema_fields
from cenote.api.auth import READ, UPDATE
from cenote.api.call import Call
from cenote.api.operation import Body, answer, no_content, operation
from cenote.api.views import RuleView, rule_view
from cenote.http.routing import Response
from cenote.model import firewall
from cenote.model.firewall import RequestedRule
from cenote.rules import in_force

PATH = "/v2/databases/{database_cluster_uuid}/firewall"


class RuleBody(Body):
    """A trusted source.  ``uuid`` identifies an existing rule to keep; it may be empty.

    ``cluster_uuid`` and ``created_at`` are ignored: clients send rules back as they were returned, or with
    the year 1 as the time.
    """

    type: schema_fields.SourceKind
    value: schema_fields.SourceValue
    uuid: str | None = None
    cluster_uuid: str | None = None
    created_at: Any = None
    description: schema_fields.SourceText | None = None

    def requested(self) -> RequestedRule:
        return RequestedRule(self.type, self.value, self.uuid or "", self.description or "")


class ReplaceRules(Body):
    """The complete list of rules; without any, all addresses may connect."""

    rules: list[RuleBody] | None


class RulesAnswer(msgspec.Struct):
    rules: list[RuleView]


@operation(HTTPMethod.GET, PATH, scope=READ, answer=RulesAnswer)
async def list_rules(request: Call) -> Response:
    """List the trusted sources of a cluster; without any, all addresses may connect."""
    cluster = request.cluster().value
    return answer(RulesAnswer([rule_view(cluster, rule) for rule in cluster.firewall]))


@operation(HTTPMethod.PUT, PATH, scope=UPDATE, status=204, body=ReplaceRules)
async def replace_rules(request: Call) -> Response:
    """Replace all trusted sources of a cluster.

    Responds when other addresses can no longer connect and their open connections have been terminated.  If
    that takes long, the response is 503; the rules are recorded, and repeating the request waits for them.
    """
    request.cluster()  # 404 takes precedence over an invalid body
    requested = [rule.requested() for rule in (await request.decoded(ReplaceRules)).rules or ()]
    now = datetime.now(UTC).replace(microsecond=0)
    await request.change_cluster(
        lambda current: replace(current, firewall=firewall.replace_rules(current.firewall, requested, now)),
        access=in_force.TRUSTED_SOURCES if requested else (),
    )
    return no_content()


ROUTES = (list_rules, replace_rules)
