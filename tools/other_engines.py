"""Generate the client's methods for engines other than PostgreSQL from a table.

    python -m tools.other_engines           write _async/other_engines.py if it has changed
    python -m tools.other_engines --check   write nothing; fail if it would change

The official pydo has these methods, so the client has them too, with the same parameters.
``tools/unasync.py`` makes the sync module from the generated one.
"""

from __future__ import annotations

import re
import sys
import textwrap
from typing import NamedTuple

from tools.unasync import ROOT, formatted

TARGET = ROOT / "packages/cenote-client/src/cenote_client/_async/other_engines.py"
SCOPES = {"GET": "read", "POST": "create", "PUT": "update", "DELETE": "delete"}
WIDTH = 102  # of a docstring's line, without its indent

# Method, path below the cluster, name, type of the body (with ? if it may be left out), type of the response,
# and the scope where it does not follow from the method; - stands for no body.  The next line is the summary.
TABLE = """
GET /topics list_kafka_topics - TopicListResponse
    Return the topics of a Kafka cluster as ``{"topics": [{…}]}``.
POST /topics create_kafka_topic TopicCreate? TopicResponse
    Create a topic and return it as ``{"topic": {…}}``.
GET /topics/{topic_name} get_kafka_topic - TopicResponse
    Return a topic with its partitions and configuration as ``{"topic": {…}}``.
PUT /topics/{topic_name} update_kafka_topic TopicUpdate? TopicResponse
    Change a topic and return it as ``{"topic": {…}}``; the number of partitions can only grow.
DELETE /topics/{topic_name} delete_kafka_topic - -
    Delete a topic with its messages.
GET /schema-registry list_kafka_schemas - SchemaListResponse
    Return the schemas of a Kafka cluster as ``{"subjects": [{…}]}``.
POST /schema-registry create_kafka_schema SchemaCreate Schema
    Register a schema for a subject and return it, unwrapped.
GET /schema-registry/{subject_name} get_kafka_schema - SchemaVersion
    Return the latest schema of a subject, unwrapped.
DELETE /schema-registry/{subject_name} delete_kafka_schema - -
    Delete a subject with all versions of its schema.
GET /schema-registry/{subject_name}/versions/{version} get_kafka_schema_version - SchemaVersion
    Return one version of a subject's schema, unwrapped; ``latest`` is a version too.
GET /schema-registry/config get_kafka_schema_config - SchemaConfig
    Return the compatibility level of all subjects.
PUT /schema-registry/config update_kafka_schema_config SchemaConfigUpdate? SchemaConfig database:write
    Set the compatibility level of all subjects.
GET /schema-registry/config/{subject_name} get_kafka_schema_subject_config - SchemaSubjectConfig
    Return the compatibility level of one subject.
PUT /schema-registry/config/{subject_name} update_kafka_schema_subject_config SchemaConfigUpdate? \
SchemaSubjectConfig database:write
    Set the compatibility level of one subject.
GET /eviction_policy get_eviction_policy - EvictionPolicyResponse
    Return which keys a Redis or Valkey cluster evicts when it is full.
PUT /eviction_policy update_eviction_policy EvictionPolicyUpdate -
    Set which keys a Redis or Valkey cluster evicts when it is full.
GET /sql_mode get_sql_mode - SqlMode
    Return the global SQL modes of a MySQL cluster as ``{"sql_mode": "ANSI,…"}``.
PUT /sql_mode update_sql_mode SqlMode -
    Replace the global SQL modes of a MySQL cluster.
GET /indexes list_opeasearch_indexes - IndexListResponse
    Return the indexes of an OpenSearch cluster as ``{"indexes": [{…}]}``; the name is misspelt in pydo too.
DELETE /indexes/{index_name} delete_opensearch_index - -
    Delete an index with its documents.
"""
HEAD = '''\
# Generated from the table in tools/other_engines.py; edit that table.

"""Operations on engines other than PostgreSQL, for parity with pydo; a Cenote service has none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._operations import CLUSTER, Operation
from .resource import AsyncResource

if TYPE_CHECKING:
    from typing import Unpack

    from .. import types as t

'''
CLASS = '''
class AsyncOtherEngines(AsyncResource):
    """The methods of ``client.databases`` for other engines."""

'''


class Row(NamedTuple):
    """One operation of the table."""

    summary: str
    method: str
    path: str
    name: str
    body: str
    returns: str
    scope: str

    @property
    def names(self) -> list[str]:
        """The parameters that stand in the path."""
        return ["database_cluster_uuid", *re.findall(r"\{(\w+)\}", self.path)]

    def constant(self) -> str:
        success = 201 if self.method == "POST" else 204 if self.returns == "None" else 200
        path = re.sub(r"\{\w+\}", "{}", self.path)
        fields = f'"{self.method}", CLUSTER + "{path}", {success}, {self.returns != "None"}'
        return f"{self.name.upper()}: Operation[{self.returns}] = Operation({fields})\n"

    def function(self) -> str:
        names = [f"{name}: str" for name in self.names]
        parameters = ", ".join(["self", *names, *filter(None, [self.body]), "**kwargs: Unpack[t.Call]"])
        arguments = f"{self.name.upper()}, ({', '.join(self.names)},), kwargs" + ", body" * bool(self.body)
        body = f'"""{self.docstring()}\n"""\nreturn await self._call({arguments})\n'
        return (
            f"    async def {self.name}({parameters}) -> {self.returns}:\n{textwrap.indent(body, ' ' * 8)}\n"
        )

    def docstring(self) -> str:
        missing = " or ".join(["the cluster", *(f"the {name.partition('_')[0]}" for name in self.names[1:])])
        errors = f"Raises NotFoundError if {missing} does not exist"
        errors += ", InvalidError for a value that is not allowed." if self.body else "."
        route = (
            f"``{self.method} /v2/databases/{{database_cluster_uuid}}{self.path}``, scope ``{self.scope}``."
        )
        return "\n\n".join(
            textwrap.fill(part, WIDTH, break_on_hyphens=False) for part in (self.summary, errors, route)
        )


def rows() -> list[Row]:
    lines = TABLE.strip().splitlines()
    return [_row(line, summary.strip()) for line, summary in zip(lines[::2], lines[1::2], strict=True)]


def _row(line: str, summary: str) -> Row:
    method, path, name, body, returns, *scope = line.split()
    parameter = "" if body == "-" else f"body: t.{body}".replace("?", " | None = None")
    returned = "None" if returns == "-" else f"t.{returns}"
    return Row(summary, method, path, name, parameter, returned, *(scope or [f"database:{SCOPES[method]}"]))


def module() -> str:
    """Return the text of the generated module."""
    table = rows()
    constants, functions = (row.constant() for row in table), (row.function() for row in table)
    return formatted("".join([HEAD, *constants, CLASS, *functions]), TARGET)


def main(arguments: list[str]) -> int:
    text, check = module(), "--check" in arguments
    if TARGET.exists() and TARGET.read_text() == text:
        return 0
    if not check:
        TARGET.write_text(text)
    print(f"{'stale' if check else 'written'}: {TARGET.relative_to(ROOT)}")
    return 1 if check else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
