"""What became of each launch: the outcomes a toolstack reported, folded to one final answer an order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hypervisor.public.orders import Outcome, Stage
from hypervisor.public.units import Pages, Seconds

_UNDONE: Final = (Stage.FAILED, Stage.DISMISSED)
"""What had been populated by then was thrown away."""


class Verdict(StrEnum):
    """How a launch stands when the run is over."""

    REFUSED = "refused"  # at once, nothing was built
    BUILT = "built"
    FAILED_LATE = "failed late"  # admitted first
    UNSETTLED = "unsettled"  # admitted, still building
    UNANSWERED = "unanswered"  # no word at all: the toolstack died, or the run ended first


ADMITTED: Final = (Verdict.BUILT, Verdict.FAILED_LATE, Verdict.UNSETTLED)
"""The scheme promised the memory, whatever came of it: the one meaning of `admitted` in every figure."""


@dataclass(frozen=True)
class Launch:
    """One order and its end.

    answered_after: emulated seconds from the order to the answer that proved final: the admission of a launch
        that was built, the refusal, or the failure of one admitted too early. None while nothing is final.
    pages_discarded: populated by a launch that then failed, or was dismissed when the run was over.
    admission_hypercalls: made to decide and to restore what deciding had changed; None without an answer.
    """

    order: int
    verdict: Verdict
    answered_after: Seconds | None
    pages_discarded: Pages
    admission_hypercalls: int | None
    reason: str = ""

    @property
    def admitted(self) -> bool:
        """The scheme promised the memory."""
        return self.verdict in ADMITTED


def fold(ordered_at: Mapping[int, Seconds], outcomes: Iterable[Outcome]) -> tuple[Launch, ...]:
    """One `Launch` for each order, by order number.

    ordered_at: emulated second at which each order was sent. Outcomes of other orders are left out.
    """
    reported: dict[int, list[Outcome]] = {order: [] for order in ordered_at}
    for outcome in outcomes:
        if outcome.order in reported:
            reported[outcome.order].append(outcome)
    return tuple(_launch(order, ordered_at[order], reported[order]) for order in sorted(reported))


def _launch(order: int, ordered_at: Seconds, outcomes: list[Outcome]) -> Launch:
    stages = {outcome.stage: outcome for outcome in outcomes}
    verdict = _verdict(stages)
    final = _final(verdict, stages)
    return Launch(
        order=order,
        verdict=verdict,
        answered_after=None if final is None else max(0.0, final.time - ordered_at),
        pages_discarded=sum(stages[stage].pages_populated for stage in _UNDONE if stage in stages),
        # It only grows, and the restore after a build is in the last word about it.
        admission_hypercalls=max((outcome.admission_hypercalls for outcome in outcomes), default=None),
        reason=_reason(final, stages),
    )


def _reason(final: Outcome | None, stages: Mapping[Stage, Outcome]) -> str:
    last = final or stages.get(Stage.DISMISSED)
    return "" if last is None else last.reason


def _verdict(stages: Mapping[Stage, Outcome]) -> Verdict:
    if Stage.FAILED in stages:
        return Verdict.FAILED_LATE
    if Stage.REFUSED in stages:
        return Verdict.REFUSED
    if Stage.BUILT in stages or Stage.DESTROYED in stages:
        return Verdict.BUILT
    return Verdict.UNSETTLED if Stage.ADMITTED in stages else Verdict.UNANSWERED


def _final(verdict: Verdict, stages: Mapping[Stage, Outcome]) -> Outcome | None:
    match verdict:
        case Verdict.FAILED_LATE:
            return stages[Stage.FAILED]
        case Verdict.REFUSED:
            return stages[Stage.REFUSED]
        case Verdict.BUILT:
            return stages.get(Stage.ADMITTED, stages.get(Stage.BUILT))
        case Verdict.UNSETTLED | Verdict.UNANSWERED:
            return None
