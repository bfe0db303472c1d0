"""The page: one file that needs no network, with everything in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]  # plotly ships no annotations

from hypervisor.public.units import Seconds
from launch.cluster.orders import launch_name
from launch.report.charts import host_charts
from launch.report.diagram import Diagram, diagram
from launch.report.figures import comparison, names_of, note, rows
from launch.report.folder import HostFolder, RunFolder
from launch.report.settings import settings_changed
from launch.report.verdict import verdict
from launch.report.witness import Witness, witnesses

TEMPLATES: Final = Path(__file__).parent / "templates"
DIAGRAMS: Final = 80
"""Witnesses that a page draws; the others it lists."""


WORST: Final = 40
"""Guests that a chart shows, and a table before it is opened: those that suffered most."""


def report_page(runs: Sequence[RunFolder]) -> str:
    """HTML of one run, or of two side by side."""
    table = comparison(runs)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["launch_name"] = launch_name
    names = names_of(runs)
    several = len(runs) > 1
    hosts = [
        (f"{name}: {host.name}" if several else host.name, host, _duration(run))
        for run, name in zip(runs, names, strict=True)
        for host in run.hosts
    ]
    drawn, listed = _witnesses([(name, host) for name, host, _ in hosts])
    charts: list[dict[str, Any]] = []
    for name, host, duration in hosts:
        charts.append({**host_charts(host, duration), "name": name})
    plotly: str = get_plotlyjs()
    return environment.get_template("report.html.j2").render(
        title=table.heading,
        verdicts=[verdict(run, name) for run, name in zip(runs, names, strict=True)],
        table=table,
        note=note(table),
        rows=rows(table),
        repeats=max((len(column.cells) for column in table.columns), default=0),
        settings=settings_changed(*runs) if several else (),
        several=several,
        charts=charts,
        drawn=drawn,
        listed=listed,
        kinds=sorted({kind for one, _ in drawn for kind in one.kinds}),
        whole=all(host.story is not None for _, host, _ in hosts),
        replayed=any(host.story is not None for _, host, _ in hosts),
        complaints=[
            f"{host.name}: {host.story.complaint}"
            for _, host, _ in hosts
            if host.story and host.story.complaint
        ],
        worst=WORST,
        path=runs[0].path,
        plotly=plotly,
    )


def _duration(run: RunFolder) -> Seconds | None:
    """Emulated seconds; None where the scenario is not there."""
    found = run.scenario.get("duration")
    return float(found) if isinstance(found, int | float) else None


def _witnesses(
    hosts: Sequence[tuple[str, HostFolder]],
) -> tuple[list[tuple[Witness, Diagram]], list[Witness]]:
    """Those with a diagram, and the others, of hosts by what the page calls them."""
    drawn: list[tuple[Witness, Diagram]] = []
    listed: list[Witness] = []
    for name, host in hosts:
        if host.story is None or host.judgement is None:
            continue
        callers = {move.caller for move in host.story.moves.values()}
        toolstacks = sorted(incarnation for domid, incarnation in callers if domid == 0)
        for found in witnesses(host.judgement, host.story):
            one = replace(found, host=name)
            picture = diagram(one, toolstacks) if len(drawn) < DIAGRAMS else None
            if picture is None:
                listed.append(one)
            else:
                drawn.append((one, picture))
    return drawn, listed
