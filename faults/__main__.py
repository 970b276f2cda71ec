"""``python -m faults [NAME …]``: runs the batteries, prints the table, writes ``build/faults.json``.

The environment sets ``KILLS`` of each process, ``CUTS`` of the power or a migration, ``CLUSTERS`` of an
upgrade, a fleet, a drain, a recovery and a spread, ``STARTS`` of an upgrade, ``LOSSES`` of a host,
``MOMENTS`` and ``RESTORE_KILLS`` of restores, ``RECOVERIES``, ``GOOD`` backups beside those that are
corrupted, ``FAILOVERS`` or ``SWITCHES`` of each of the ``SCENARIOS``, ``RESTARTS``, ``RESIZES``, random
``FAULTS`` of one cluster, the seconds that a server is ``FROZEN``, and ``SEED``.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from faults import (
    drain,
    drills,
    failover,
    fleet,
    kills,
    major_upgrade,
    migration,
    outcome,
    power,
    random_faults,
    recover,
    restore,
    rolling,
    scale,
    spread,
    switch,
    switch_kills,
    upgrade,
)
from faults.outcome import Outcome
from tests.support import old_version

RESULT = Path("build/faults.json")
NAMES = (
    *kills.TARGETS,
    "power",
    "upgrade",
    "fleet",
    "drain",
    "restore",
    "recover",
    "spread",
    "drills",
    "major_upgrade",
    "migration",
    "failover",
    "pair",
    "switch",
    "switch_kills",
    "rolling",
    "scale",
    "random",
)


def main(wanted: Sequence[str]) -> int:
    """Run these batteries, or all; return 1 if anything was lost or left over."""
    unknown = [name for name in wanted if name not in NAMES]
    if unknown:
        print(f"no such battery: {', '.join(unknown)}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    seed = os.environ.get("SEED") or os.urandom(4).hex()
    print(f"to make the same calls and kills again: SEED={seed}", flush=True)
    outcomes: list[Outcome] = []
    for name in wanted or NAMES:
        began = time.monotonic()
        outcomes += _outcomes(name, seed)
        outcome.write(outcomes, seed, RESULT)
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    print(outcome.table(outcomes))
    for found in outcomes:
        for what, figure in found.figures.items():
            print(f"{found.name}: {what}: {figure:.3f}")
        for line in found.lost + found.orphans:
            print(f"{found.name}: {line}")
    print(f"written to {RESULT}")
    return 0 if all(found.is_clean for found in outcomes) else 1


def _outcomes(name: str, seed: str) -> list[Outcome]:
    if name == "upgrade":
        return _upgrades(seed)
    if name == "drills":
        return drills.battery(_number("GOOD", drills.TIMES))
    if name == "drain":
        return [drain.battery(_number("CLUSTERS", 10))]
    if name == "restore":
        return restore.batteries(_number("MOMENTS", 20), _number("RESTORE_KILLS", 15), seed)
    if name == "recover":
        return [recover.battery(_number("RECOVERIES", 10), _number("CLUSTERS", 5), seed)]
    if name == "spread":
        return [spread.battery(_number("CLUSTERS", 30))]
    if name == "fleet":
        return [fleet.battery(_number("LOSSES", 10), _number("CLUSTERS", 20), seed)]
    if name == "major_upgrade":
        return major_upgrade.battery(_number("KILLS", 20), seed)
    if name == "migration":
        return [migration.battery(_number("CUTS", 20), seed)]
    if name == "rolling":
        return rolling.batteries(_number("RESTARTS", 4), seed)
    scenarios = [one for one in os.environ.get("SCENARIOS", "").split(",") if one]
    if name == "failover":
        return failover.batteries(scenarios, _number("FAILOVERS", 5), seed)
    if name == "pair":
        return failover.pairs(scenarios, _number("FAILOVERS", 5), seed)
    if name == "switch":
        return switch.batteries(scenarios, _number("SWITCHES", 20), seed)
    if name == "switch_kills":
        return switch_kills.batteries(_number("SWITCHES", 30), seed)
    if name == "scale":
        return scale.batteries(_number("RESIZES", 5), seed)
    if name == "random":
        return random_faults.batteries(_number("FAULTS", 200), seed)
    if name == "power":
        return [power.battery(_number("CUTS", 30), seed)]
    return [kills.battery(name, _number("KILLS", 300), seed)]


def _upgrades(seed: str) -> list[Outcome]:
    clusters, starts = _number("CLUSTERS", 20), _number("STARTS", 20)
    found = []
    for revision in (old_version.FIRST, old_version.LAST):
        taken = upgrade.taken_over(revision, clusters)
        back = upgrade.taken_back(revision, clusters)
        found += [
            Outcome(f"upgrade from {revision}, {clusters} clusters", 1, lost=taken),
            Outcome(f"upgrade from {revision} and the way back", 1, lost=back),
        ]
    killed = upgrade.killed_starts(old_version.LAST, 2, starts, random.Random(seed))
    return [*found, Outcome("kill -9 of a first start after an upgrade", starts, lost=killed)]


def _number(name: str, default: int) -> int:
    return int(os.environ.get(name) or default)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
