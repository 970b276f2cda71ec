"""SVG paths of numbers over time (https://www.w3.org/TR/SVG2/paths.html).  Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

WIDTH, HEIGHT = 600, 100  # the viewBox; CSS stretches it
GAP = 100.0  # seconds without a sample after which the path is interrupted, at least

Numbers = Sequence[float]
Points = list[tuple[int, int]]


def top_of(most: float, least: float = 1.0) -> float:
    """Return the upper end of the y axis: 1, 2 or 5 times a power of ten, at least ``least``."""
    most = max(most, least)
    scale = 10.0 ** math.floor(math.log10(most))
    return next(float(f"{step * scale:.12g}") for step in (1, 2, 5, 10) if step * scale >= most * (1 - 1e-9))


class TimeAxis:
    """Where samples stand on the x axis of a chart of so many seconds that ends ``now``.

    The series of a chart share it.  Their paths are interrupted where there is no sample for ``gap`` seconds.
    """

    def __init__(self, at: Numbers, now: float, seconds: float, gap: float = GAP) -> None:
        scale = WIDTH / seconds
        self.x = [round(WIDTH - (now - moment) * scale) for moment in at]
        self.pieces = list(_pieces(at, now - seconds, gap))


def area(axis: TimeAxis, upper: Numbers, top: float, lower: Numbers | None = None) -> str:
    """Return the path of the area below ``upper``, or between ``lower`` and ``upper``."""
    parts = []
    for piece in axis.pieces:
        rise = _points(axis, piece, upper, top)
        if lower is None:
            fall = [(rise[-1][0], HEIGHT), (rise[0][0], HEIGHT)]
        else:
            fall = _points(axis, piece[::-1], lower, top)
        parts.append(_path([*_without_flat(rise), *_without_flat(fall)]))
    return "".join(parts)


def steps(axis: TimeAxis, values: Numbers, top: float) -> str:
    """Return the path of a value that changes seldom and in steps."""
    drawn, before = "", -1
    for piece in axis.pieces:
        points = _points(axis, piece, values, top)
        drawn += "M{} {}".format(*points[0])
        for x, y in points:
            if y != before:
                drawn += f"H{x}V{y}"
            before = y
        drawn += f"H{points[-1][0]}"
    return drawn


def _pieces(at: Numbers, begin: float, gap: float) -> Iterator[list[int]]:
    """Yield the indexes of each stretch without a gap, from ``begin`` on."""
    piece: list[int] = []
    for index, moment in enumerate(at):
        if moment < begin:
            continue
        if piece and moment - at[piece[-1]] > gap:
            yield piece
            piece = []
        piece.append(index)
    if piece:
        yield piece


def _points(axis: TimeAxis, piece: list[int], values: Numbers, top: float) -> Points:
    scale = HEIGHT / top
    return [(axis.x[index], round(max(0.0, HEIGHT - values[index] * scale))) for index in piece]


def _without_flat(points: Points) -> Points:
    """Leave out the points in the middle of a horizontal line, which most of a quiet pool's chart is."""
    middle = zip(points, points[1:], points[2:], strict=False)
    kept = [here for before, here, after in middle if not before[1] == here[1] == after[1]]
    return [*points[:1], *kept, *points[1:][-1:]]


def _path(points: Points) -> str:
    """Return a closed path; distances from point to point take fewer bytes than coordinates."""
    steps = [f"{x - before_x} {y - before_y}" for (before_x, before_y), (x, y) in pairwise(points)]
    return f"M{points[0][0]} {points[0][1]}l{' '.join(steps)}z".replace(" -", "-")
