"""docs/monitoring.md names every metric, and says of each what its help says."""

from __future__ import annotations

import re
from pathlib import Path

from cenote.metrics import cluster_metrics, service_metrics

PAGE = Path(__file__).parents[2] / "docs" / "monitoring.md"


def test_the_page_has_every_metric_with_its_help_and_no_other() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    families = (*cluster_metrics.FAMILIES, *service_metrics.FAMILIES)
    assert dict(rows) == {family.name: family.help for family in families}
    assert len(rows) == len(families)
