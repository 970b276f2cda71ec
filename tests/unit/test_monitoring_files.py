"""The files in monitoring/ use metrics that are exposed, as their types allow."""

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
def test_a_metric_that_is_used_is_exposed(expression: str) -> None:
    names = set(NAME.findall(expression))
    assert names or expression.startswith("up{")  # of Prometheus itself
    for name in names:
        family = FAMILIES.get(name) or FAMILIES[re.sub(r"_(?:bucket|sum|count)$", "", name)]
        assert (family.kind is Kind.HISTOGRAM) == (name not in FAMILIES)
        # Counters and histograms are used in rates only, and gauges never.
        rates = re.findall(rf"(?:rate|increase)\({name}\b", expression)
        assert len(rates) == (
            len(re.findall(rf"\b{name}\b", expression)) if family.kind is not Kind.GAUGE else 0
        )


def test_every_metric_of_clusters_is_on_the_dashboard_or_in_an_alert() -> None:
    used = {name for expression in expressions() for name in NAME.findall(expression)}
    unused = {family.name for family in cluster_metrics.FAMILIES} - used
    # track_io_timing is off by default.
    assert unused == {
        "cenote_database_block_read_seconds_total",
        "cenote_database_block_write_seconds_total",
        "cenote_database_temporary_files_total",
    }


def test_panels_have_unique_ids_and_do_not_overlap() -> None:
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


def test_a_panel_uses_the_chosen_data_source_and_has_a_unit_and_a_title() -> None:
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["title"]
