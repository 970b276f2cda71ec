"""From numbers over time to the paths of a picture (https://www.w3.org/TR/SVG2/paths.html).  Pure.

``static/pools.js`` draws in the same way, once scripts run: the same box, the same time, the same gaps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

WIDTH, HEIGHT = 600, 100  # of the box that a picture is drawn in; the page stretches it
SECONDS = 900.0  # that a picture spans
GAP = 100.0  # seconds without a sample, from which on nothing is drawn

Numbers = Sequence[float]


def top_of(most: float, least: float = 1.0) -> float:
    """Return the number at the upper edge of a picture: 1, 2 or 5 with zeros, and never below ``least``."""
    most = max(most, least)
    scale = 10.0 ** math.floor(math.log10(most))
    return next(float(f"{step * scale:.12g}") for step in (1, 2, 5, 10) if step * scale >= most * (1 - 1e-9))


def area(at: Numbers, upper: Numbers, top: float, now: float, lower: Numbers | None = None) -> str:
    """Return the area below a line, or between two."""
    parts = []
    for piece in _pieces(at, now):
        rise = [_point(at[index], upper[index], top, now) for index in piece]
        if lower is None:
            fall = [f"{_x(at[piece[-1]], now)} {HEIGHT}", f"{_x(at[piece[0]], now)} {HEIGHT}"]
        else:
            fall = [_point(at[index], lower[index], top, now) for index in reversed(piece)]
        parts.append(f"M{'L'.join([*rise, *fall])}Z")
    return "".join(parts)


def line(at: Numbers, values: Numbers, top: float, now: float) -> str:
    """Return a line."""
    return "".join(
        "M" + "L".join(_point(at[index], values[index], top, now) for index in piece)
        for piece in _pieces(at, now)
    )


def steps(at: Numbers, values: Numbers, top: float, now: float) -> str:
    """Return a line of what changes seldom and at once, up to this moment."""
    drawn, before = "", -1
    for piece in _pieces(at, now):
        for index in piece:
            y = _y(values[index], top)
            drawn += f"M{_x(at[index], now)} {y}" if index == piece[0] else ""
            if y != before:
                drawn += f"H{_x(at[index], now)}V{y}"
            before = y
        drawn += f"H{_x(at[piece[-1]], now)}"
    return drawn


def _pieces(at: Numbers, now: float) -> Iterator[list[int]]:
    """Return the indexes of what is to be drawn without a gap."""
    piece: list[int] = []
    for index, moment in enumerate(at):
        if moment < now - SECONDS:
            continue
        if piece and moment - at[piece[-1]] > GAP:
            yield piece
            piece = []
        piece.append(index)
    if piece:
        yield piece


def _point(at: float, value: float, top: float, now: float) -> str:
    return f"{_x(at, now)} {_y(value, top)}"


def _x(at: float, now: float) -> int:
    return round(WIDTH * (1 - (now - at) / SECONDS))


def _y(value: float, top: float) -> int:
    return round(HEIGHT * (1 - min(value, top) / top))
