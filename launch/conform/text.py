"""A conform report for people: a table by release, then the first mismatches in full."""

from typing import Final

from launch.conform.comparison import Mismatch
from launch.conform.replay import NOT_EMULATED
from launch.conform.report import ConformReport
from launch.conform.tmem_figures import Figures

SHOWN: Final = 10
"""Mismatches printed in full."""
_COUNTS: Final = ("files", "operations", "matched", "mismatched", "contig", "skipped")


def report_text(report: ConformReport) -> str:
    """Several lines, without a line break at the end."""
    lines = [*_table(report), "contig: within matched; Xen lacked a contiguous chunk, as the recording tells"]
    agreement = report.frame_heap
    if agreement is not None:
        lines.append(f"frame heap: {agreement.agreed} of {agreement.of} answers as the recorded host's")
    lines += _not_emulated(report)
    for mismatch in report.mismatches[:SHOWN]:
        lines += _in_full(mismatch)
    if report.mismatched > SHOWN:
        lines.append(f"and {report.mismatched - SHOWN} more mismatches (--json lists all)")
    return "\n".join(lines)


def _not_emulated(report: ConformReport) -> list[str]:
    """One line for each script that met a fault of Xen which the core does not repeat."""
    told: list[str] = []
    for script, why in NOT_EMULATED.items():
        lines = sum(script in mismatch.file for mismatch in report.not_emulated)
        if lines:
            told.append(f"not emulated: {script}, {lines} lines: {why}")
    return told


def _table(report: ConformReport) -> list[str]:
    heads = ("release", *_COUNTS, "frame heap")
    rows: list[tuple[str, ...]] = [heads]
    rows += [_row(name, totals) for name, totals in report.by_release().items()]
    rows.append(_row("all", report.totals()))
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _row(name: str, totals: dict[str, int]) -> tuple[str, ...]:
    agreed = f"{totals['frame_heap_agreed']}/{totals['frame_heap_of']}" if "frame_heap_of" in totals else "-"
    return (name, *(str(totals[count]) for count in _COUNTS), agreed)


def _in_full(mismatch: Mismatch) -> list[str]:
    return [
        f"{mismatch.file} line i={mismatch.i}: {mismatch.line}",
        f"  expected {_figures(mismatch.expected)}",
        f"  got      {_figures(mismatch.got)}",
        f"  rule     {mismatch.rule}",
    ]


def _figures(figures: Figures) -> str:
    return ", ".join(f"{name} {value}" for name, value in figures.items()) or "nothing"
