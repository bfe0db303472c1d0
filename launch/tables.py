"""The summary for readers: a table with the schemes as columns, on the terminal and in summary.md."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from launch.errors import one_line
from launch.memory_rows import memory_rows
from launch.over_hosts import over_hosts_rows
from launch.summary import Report, SchemeSummary

_HEADINGS = (
    ("launches", "launches"),
    ("admitted", "admitted"),
    ("refused", "refused at once"),
    ("failed_late", "failed late"),
    ("pages_discarded", "pages built and thrown away"),
    ("guest_refused_allocations", "guests' refused allocations"),
    ("pages_swapped", "pages swapped"),
    ("oom_kills", "OOM kills"),
    ("hypercalls_per_launch", "hypercalls per launch (admission and restore)"),
    ("time_to_answer_p50_s", "time to the final answer, p50 (emulated s)"),
    ("time_to_answer_p99_s", "time to the final answer, p99 (emulated s)"),
    ("leftovers", "leftovers before clean-up"),
)

_ORDERS = "orders (attempts at launches), and of these"


def time_scale(report: Report) -> str:
    """Speed, and one round trip in emulated time: hypercalls take real time, which the scale stretches."""
    if report.virtual_round_trip is not None:
        return f"virtual time; one round trip = {report.virtual_round_trip * 1000:.3g} ms emulated"
    scale = f"1 real second = {report.summary.speed:g} emulated seconds"
    if report.round_trip is None:
        return scale
    return (
        f"{scale}; one round trip = {report.round_trip * 1000:.3g} ms real "
        f"= {report.round_trip * report.summary.speed * 1000:.3g} ms emulated"
    )


def heading(report: Report) -> str:
    """Which run it was."""
    summary = report.summary
    verdict = "valid" if summary.valid else "INVALID"
    return f"{report.scenario}: release {summary.release}, seed {summary.seed}, {verdict}"


def rows(report: Report) -> Iterator[tuple[str, ...]]:
    """Heading and one cell a scheme, for every figure."""
    several = tuple(report.summary.over_hosts.values())
    if several:
        yield from over_hosts_rows(several)
    for name, title in _HEADINGS:
        shown = _ORDERS if several and name == "launches" else title
        yield (shown, *(_cell(scheme, name) for scheme in report.summary.schemes.values()))
        if name == "failed_late" and report.endings:
            yield ("built", *(f"{one.built:,}" for one in report.endings.values()))
            yield ("unsettled at the end", *(f"{one.unsettled:,}" for one in report.endings.values()))
    yield from memory_rows([scheme.memory for scheme in report.summary.schemes.values()])


def _cell(scheme: SchemeSummary, name: str) -> str:
    value: int | float | None = getattr(scheme, name)
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"


def remarks(report: Report) -> Iterator[str]:
    """What broke, what was left over, and the notes: one line each."""
    yield from (f"violation: {one_line([text])}" for text in report.violations)
    for scheme, leftovers in report.leftovers.items():
        yield from (f"left over by {scheme}: {one_line([text])}" for text in leftovers)
    yield from (one_line([text]) for text in report.notes)


def rich_table(report: Report) -> Table:
    """For the terminal; the caption is the time scale."""
    caption = time_scale(report).replace("; ", "\n")  # one line is wider than most tables
    table = Table(title=heading(report), caption=caption, title_justify="left", caption_justify="left")
    table.add_column("")
    for name in report.summary.schemes:
        table.add_column(name, justify="right")
    for title, *cells in rows(report):
        table.add_row(title, *cells)
    return table


def markdown(report: Report) -> str:
    """summary.md."""
    names = list(report.summary.schemes)
    lines = [
        f"# {heading(report)}",
        "",
        f"{time_scale(report)}.",
        "",
        _markdown_row(["", *names]),
        _markdown_row(["---", *("---:" for _ in names)]),
        *(_markdown_row(row) for row in rows(report)),
        *_bullets(list(remarks(report))),
    ]
    return "\n".join(lines) + "\n"


def _markdown_row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _bullets(lines: list[str]) -> list[str]:
    return ["", *(f"- {line}" for line in lines)] if lines else []
