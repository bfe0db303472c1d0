"""A curve as SVG: a logarithmic axis of what grows, a linear one of its cost. plotly needs a browser."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from typing import Final

WIDTH, HEIGHT = 480, 280
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 40, 48
TICKS: Final = 5
"""Of the cost's axis, about."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Curve:
    """What one figure shows. `points` rise in x, which is above 0."""

    name: str
    title: str
    x: str
    y: str
    points: Points


def svg(curve: Curve) -> str:
    """The figure, a document of a few KiB."""
    body = "\n".join((*_axes(curve), *_line(curve)))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" font-family="sans-serif" font-size="11">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n{body}\n</svg>\n'
    )


def _axes(curve: Curve) -> Iterator[str]:
    yield f'<text x="{LEFT}" y="20" font-size="13">{escape(curve.title)}</text>'
    yield f'<text x="{WIDTH / 2:.0f}" y="{HEIGHT - 10}" text-anchor="middle">{escape(curve.x)}</text>'
    yield f'<text x="{LEFT}" y="{TOP - 6}" fill="#666">{escape(curve.y)}</text>'
    for value in ticks(_top(curve)):
        y = _y(curve, value)
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:,g}</text>'
    for x, _ in curve.points:
        place = _x(curve, x)
        yield f'<path d="M{place:.1f} {HEIGHT - BOTTOM}v5" stroke="#666"/>'
        yield f'<text x="{place:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{x:,g}</text>'


def _line(curve: Curve) -> Iterator[str]:
    places = [(_x(curve, x), _y(curve, y)) for x, y in curve.points]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    yield f'<path d="M{path}" fill="none" stroke="#1f5fa8" stroke-width="2"/>'
    for (x, y), (_, value) in zip(places, curve.points, strict=True):
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#1f5fa8"><title>{value:,g}</title></circle>'


def ticks(top: float) -> list[float]:
    """Round numbers from 0 to `top`."""
    raw = top / TICKS
    magnitude = 10.0 ** floor(log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= raw)
    return [step * number for number in range(ceil(top / step) + 1)]


def _top(curve: Curve) -> float:
    return max(y for _, y in curve.points) or 1.0


def _x(curve: Curve, x: float) -> float:
    first, last = curve.points[0][0], curve.points[-1][0]
    share = log10(x / first) / log10(last / first) if last > first else 0.5
    return LEFT + 12 + share * (WIDTH - LEFT - RIGHT - 24)


def _y(curve: Curve, y: float) -> float:
    top = ticks(_top(curve))[-1]
    return HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)
