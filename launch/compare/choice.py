"""What makes one setting better than another: a figure, and whether it is to be high or low."""

from __future__ import annotations

from dataclasses import dataclass

from launch.better import Better, better_ends
from launch.compare.cell import FAILED_PAGES, HARM, OVER_HOSTS
from launch.errors import UsageError
from launch.judge.figures import Figures
from launch.over_hosts import OverHosts
from launch.summary import SchemeSummary


def _better() -> dict[str, Better]:
    """Every figure that has a better end, as comparisons name it: harm first, then as declared."""
    own = {HARM: Better.LOWER, FAILED_PAGES: Better.LOWER}
    over = {f"{OVER_HOSTS}{name}": end for name, end in better_ends(OverHosts)}
    return {**own, **dict(better_ends(Figures)), **dict(better_ends(SchemeSummary)), **over}


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
    better = _better()
    roots = {*Figures.__struct_fields__, *SchemeSummary.__struct_fields__, "over_hosts", HARM, FAILED_PAGES}
    if figure.partition(".")[0] not in roots or direction not in ("", "highest", "lowest"):
        known = ", ".join(better)
        raise UsageError(f"--best {text}: no such figure: one of {known}, or highest:FIGURE, lowest:FIGURE")
    if direction:
        return Choice(figure, direction == "highest")
    for name, end in better.items():
        if figure == name or figure.startswith(f"{name}."):
            return Choice(figure, end is Better.HIGHER)
    raise UsageError(f"--best {text}: neither more nor less of it is better: highest:{text} or lowest:{text}")
