"""The files in monitoring/ name metrics that are exposed, and labels that they have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from cenote.metrics import cluster_metrics, service_metrics
from cenote.metrics.exposition import Kind
from tests.support.prometheus import MONITORING

FAMILIES = {family.name: family for family in (*cluster_metrics.FAMILIES, *service_metrics.FAMILIES)}
DASHBOARD: Any = json.loads((MONITORING / "grafana-dashboard.json").read_text())
NAME = re.compile(r"\b(?:cenote|process)_[a-z_]+\b")


def panels() -> Iterator[Any]:
    for panel in DASHBOARD["panels"]:
        if panel["type"] != "row":
            yield panel


def expressions() -> list[str]:
    found = [target["expr"] for panel in panels() for target in panel["targets"]]
    found += [one["definition"] for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]
    for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]:
        found += [rule["expr"] for rule in group["rules"]]
    return found


@pytest.mark.parametrize("expression", expressions())
def test_a_metric_that_is_named_is_exposed(expression: str) -> None:
    names = set(NAME.findall(expression))
    assert names or expression.startswith("up{")  # of Prometheus itself
    for name in names:
        family = FAMILIES.get(name) or FAMILIES[re.sub(r"_(?:bucket|sum|count)$", "", name)]
        assert (family.kind is Kind.HISTOGRAM) == (name not in FAMILIES)
        # A counter means nothing by itself, and a rate of anything else means nothing either.
        rates = re.findall(rf"(?:rate|increase)\({name}\b", expression)
        assert len(rates) == (
            len(re.findall(rf"\b{name}\b", expression)) if family.kind is not Kind.GAUGE else 0
        )


def test_every_metric_of_clusters_is_shown_or_watched() -> None:
    used = {name for expression in expressions() for name in NAME.findall(expression)}
    unused = {family.name for family in cluster_metrics.FAMILIES} - used
    # Where reading and writing are timed is a setting of the server, and is off as a rule.
    assert unused == {
        "cenote_database_block_read_seconds_total",
        "cenote_database_block_write_seconds_total",
        "cenote_database_temporary_files_total",
    }


def test_the_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_a_panel_asks_the_data_source_that_the_reader_chooses_and_has_a_unit() -> None:
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["title"]
