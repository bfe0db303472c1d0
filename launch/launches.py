"""What became of each launch: the outcomes a toolstack reported, folded to one final answer an order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from hypervisor.public.orders import Outcome, Stage
from hypervisor.public.units import Pages, Seconds


class Verdict(StrEnum):
    """How a launch stands when the run is over."""

    REFUSED = "refused"  # at once, nothing was built
    BUILT = "built"
    FAILED_LATE = "failed late"  # admitted first
    UNSETTLED = "unsettled"  # admitted, still building
    UNANSWERED = "unanswered"  # no word at all: the toolstack died, or the run ended first


@dataclass(frozen=True)
class Launch:
    """One order and its end.

    answered_after: emulated seconds from the order to the answer that proved final: the admission of a launch
        that was built, the refusal, or the failure of one admitted too early. None while nothing is final.
    pages_discarded: populated by a launch that then failed.
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
        """The scheme promised the memory, whatever came of it."""
        return self.verdict in (Verdict.BUILT, Verdict.FAILED_LATE, Verdict.UNSETTLED)


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
        pages_discarded=stages[Stage.FAILED].pages_populated if Stage.FAILED in stages else 0,
        # It only grows, and the restore after a build is in the last word about it.
        admission_hypercalls=max((outcome.admission_hypercalls for outcome in outcomes), default=None),
        reason="" if final is None else final.reason,
    )


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
