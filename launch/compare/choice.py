"""What makes one setting better than another: a figure, and whether it is to be high or low."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from launch.compare.cell import FAILED_PAGES, HARM
from launch.errors import UsageError
from launch.judge.figures import Figures
from launch.summary import SchemeSummary

HIGHEST: Final = (
    "admitted",
    "domains",
    "over_hosts.running",
)
"""Figures of which more is better."""
LOWEST: Final = (
    HARM,
    FAILED_PAGES,
    "falsely_refused_pages",
    "failed_late",
    "pages_discarded",
    "guest_refused_allocations",
    "pages_swapped",
    "oom_kills",
    "hypercalls_per_launch",
    "time_to_answer_p50_s",
    "time_to_answer_p99_s",
    "leftovers",
    "false_refusals",
    "fitted_at_first",
    "false_grants",
    "overtaken",
    "late_failures",
    "wasted_page_seconds",
    "window_p50_s",
    "window_p99_s",
    "moved_in_windows",
    "refused_while_free",
    "refused_without",
    "swapped",
    "gini_refused",
    "gini_swapped",
    "over_hosts.attempts_per_launch",
    "over_hosts.given_up",
    "over_hosts.time_to_running_p50_s",
    "over_hosts.time_to_running_p99_s",
)
"""Figures of which less is better."""


@dataclass(frozen=True, slots=True)
class Choice:
    """--best."""

    figure: str
    highest: bool

    def __str__(self) -> str:
        return f"{'highest' if self.highest else 'lowest'} {self.figure}"

    def prefers(self, value: float | None, to: float | None) -> bool:
        """A setting without the figure is no better than any other."""
        if value is None or to is None:
            return value is not None
        return value > to if self.highest else value < to


def parse_choice(text: str) -> Choice:
    """FIGURE, highest:FIGURE or lowest:FIGURE. UsageError for what is none, or has no better end."""
    direction, colon, figure = text.partition(":")
    if not colon:
        direction, figure = "", text
    roots = {*Figures.__struct_fields__, *SchemeSummary.__struct_fields__, "over_hosts", HARM, FAILED_PAGES}
    if figure.partition(".")[0] not in roots or direction not in ("", "highest", "lowest"):
        known = ", ".join((*HIGHEST, *LOWEST))
        raise UsageError(f"--best {text}: no such figure: one of {known}, or highest:FIGURE, lowest:FIGURE")
    if direction:
        return Choice(figure, direction == "highest")
    for names, highest in ((HIGHEST, True), (LOWEST, False)):
        if any(figure == name or figure.startswith(f"{name}.") for name in names):
            return Choice(figure, highest)
    raise UsageError(f"--best {text}: neither more nor less of it is better: highest:{text} or lowest:{text}")
