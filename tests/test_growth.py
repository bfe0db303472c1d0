"""The figures of growth: what is measured, and what is drawn."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.figures import Plan
from benchmarks.growth import by_domains, by_history
from benchmarks.plot import Curve, svg, ticks

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
SVG = "{http://www.w3.org/2000/svg}"


def test_costs_are_measured_where_they_grow() -> None:
    """A quick measurement gives a figure for domains, and two for the length of a run."""
    quick = Plan(1, quick=True)
    domains, time, memory = by_domains(quick), *by_history(quick)
    assert [x for x, _ in domains.points] == [10, 30]
    assert [x for x, _ in time.points] == [x for x, _ in memory.points] == [600, 1200]
    assert all(y > 0 for curve in (domains, time, memory) for _, y in curve.points)


def test_a_curve_is_drawn_where_its_points_are() -> None:
    """Every point is a circle, further right with x and higher with y; text is escaped."""
    drawn = ElementTree.fromstring(svg(Curve("n", "a < b", "x", "us", ((10, 5), (100, 15), (1000, 10)))))
    circles = [(float(one.attrib["cx"]), float(one.attrib["cy"])) for one in drawn.iter(f"{SVG}circle")]
    (x1, y1), (x2, y2), (x3, y3) = circles
    assert x1 < x2 < x3 and y2 < y3 < y1
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2)
    assert "a < b" in [one.text for one in drawn.iter(f"{SVG}text")]


def test_ticks_are_round_and_reach_the_top() -> None:
    """From 0 to the first round number that is not below the largest cost."""
    assert ticks(15) == [0, 5, 10, 15]
    assert ticks(0.37) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert ticks(1234)[-1] >= 1234


def test_the_committed_figures_show_the_committed_points() -> None:
    """docs/figures holds the SVGs that benchmarks.growth draws from growth.json, each below 100 KiB."""
    for curve in json.loads((FIGURES / "growth.json").read_text(encoding="utf-8"))["curves"]:
        path = FIGURES / f"growth-{curve['name']}.svg"
        assert path.read_text(encoding="utf-8") == svg(Curve(**curve))
        assert path.stat().st_size < 100 * 1024
