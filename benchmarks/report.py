"""The rows for readers: a table on the terminal, JSON, and the table inside a document."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from rich.table import Table

from benchmarks.figures import Row

BEGIN: Final = "<!-- make bench: begin -->"
END: Final = "<!-- make bench: end -->"
HEADINGS: Final = ("figure", "anchor in the same run", "value", "anchor", "ratio", "target", "met")


def machine() -> dict[str, str | int]:
    """What the figures were measured on, without names."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cpus": os.cpu_count() or 1,
        "cpu": model,
        "python": platform.python_version(),
        "system": platform.system(),
    }


def cells(row: Row) -> tuple[str, ...]:
    """One row under `HEADINGS`."""
    if row.value is None or row.anchor_value is None or row.ratio is None:
        return (row.figure, row.anchor, row.note, "-", "-", str(row.target), "skipped")
    bound = "<=" if row.at_most else ">="
    return (
        row.figure,
        row.anchor,
        f"{number(row.value)} {row.unit}",
        f"{number(row.anchor_value)} {row.unit}",
        f"{row.ratio:.2f}",
        f"{bound} {row.target:g}",
        "yes" if row.met else "no",
    )


def number(value: float) -> str:
    """Three or so significant digits."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def rich_table(rows: Sequence[Row], source: str) -> Table:
    """For the terminal."""
    table = Table(caption=f"operations recorded from: {source}", caption_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in HEADINGS[:2] else "right")
    for row in rows:
        table.add_row(*cells(row))
    return table


def markdown(rows: Sequence[Row]) -> Iterator[str]:
    """The same as lines of a Markdown table."""
    yield f"| {' | '.join(HEADINGS)} |"
    yield "|---|---|---:|---:|---:|---:|---|"
    for row in rows:
        yield f"| {' | '.join(cells(row))} |"


def write_json(path: Path, rows: Sequence[Row]) -> None:
    """{"rows": [...], "machine": {...}}."""
    content = {"rows": [asdict(row) for row in rows], "machine": machine()}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def write_markdown(path: Path, rows: Sequence[Row]) -> None:
    """Renew the table between the marks. ValueError for a document without them."""
    text = path.read_text(encoding="utf-8")
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"{path} has no lines {BEGIN} and {END}: put them where the table belongs")
    measured = ", ".join(f"{key} {value}" for key, value in machine().items())
    table = "\n".join([*markdown(rows), "", f"Measured on: {measured}."])
    path.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")
