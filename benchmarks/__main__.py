"""`python -m benchmarks`: measure, print a table, write latest.json and the table of docs/performance.md."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from benchmarks import check_length, core, domains, explorer, multicall, processes, recording, simulator, wire
from benchmarks.figures import Plan, Row, row
from benchmarks.mix import recorded
from benchmarks.report import rich_table, write_json, write_markdown

OTHERS = (
    *wire.FIGURES,
    *multicall.FIGURES,
    *core.FIGURES,
    *processes.FIGURES,
    *domains.FIGURES,
    *simulator.FIGURES,
    *explorer.FIGURES,
    *recording.FIGURES,
)
HERE = Path(__file__).parent


def main() -> None:
    """Measure what is asked for."""
    names = list(dict.fromkeys(one.name for one in (*OTHERS, *check_length.figures(quick=False))))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        choices=names,
        metavar="NAME",
        help=f"one of {', '.join(names)}; repeatable",
    )
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds a figure (default 5)")
    parser.add_argument(
        "--quick", action="store_true", help="small and short: tries the machinery, measures nothing"
    )
    parser.add_argument("--out", type=Path, default=HERE / "latest.json", help="where the JSON goes")
    parser.add_argument("--markdown", type=Path, help="a document whose table between the marks is renewed")
    options = parser.parse_args()
    plan = Plan(1 if options.quick else options.rounds, options.quick)
    console = Console()
    rows: list[Row] = []
    for figure in (*OTHERS, *check_length.figures(plan.quick)):
        if not options.only or figure.name in options.only:
            console.print(f"measuring {figure.name}: {figure.figure}", style="dim", highlight=False)
            rows.append(row(figure, plan))
    console.print(rich_table(rows, recorded().source))
    write_json(options.out, rows)
    if options.markdown is not None:
        write_markdown(options.markdown, rows)


if __name__ == "__main__":
    main()
