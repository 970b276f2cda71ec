"""docs/monitoring.md lists every metric with its labels and its help."""

from __future__ import annotations

import re
from pathlib import Path

from cenote.metrics import cluster_metrics, service_metrics

PAGE = Path(__file__).parents[2] / "docs" / "monitoring.md"


def test_the_page_lists_every_metric_with_its_labels_and_help_and_no_other() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    found = [(name, tuple(re.findall(r"`(\w+)`", labels)), help) for name, labels, help in rows]
    families = (*cluster_metrics.FAMILIES, *service_metrics.FAMILIES)
    assert sorted(found) == sorted((family.name, family.labels, family.help) for family in families)
