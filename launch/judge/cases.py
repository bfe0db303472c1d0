"""What is known of every launch before the journal is read: what it wanted, and what it was told when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from hypervisor.core.releases import Release
from hypervisor.public.orders import Outcome, Stage
from hypervisor.public.units import Commit, DomId, Pages, Seconds
from launch.launches import Verdict, fold
from launch.records import Ordered
from toolstack.builder.build import final_tot_pages, is_hvm
from toolstack.need import paging_pool

Key = tuple[DomId, int]
"""A domain in one of its lives: (domid, incarnation)."""


@dataclass(frozen=True, slots=True)
class Case:
    """One launch order and its answers."""

    order: Ordered
    verdict: Verdict
    reason: str
    """Why it was refused or failed."""
    domain: Key | None
    """None when it never had one, or nobody said which."""
    sampled: Commit
    """First commit of the oldest reading behind the decision; 0 when unknown."""
    decided: Commit
    """Commit of the last hypercall before the decision, ADMITTED or REFUSED; 0 without a decision."""
    decided_at: Seconds
    ended: Commit
    """Commit of the end of the build, BUILT or FAILED; 0 when it had none."""

    @property
    def number(self) -> int:
        """Of the order."""
        return self.order.order


def cases(orders: Iterable[Ordered], outcomes: Iterable[Outcome]) -> tuple[Case, ...]:
    """One `Case` for each order, by order number."""
    said: dict[int, list[Outcome]] = {}
    heard = list(outcomes)
    for outcome in heard:
        said.setdefault(outcome.order, []).append(outcome)
    known = {order.order: order for order in orders}
    launches = fold({number: order.time for number, order in known.items()}, heard)
    return tuple(
        _case(known[one.order], one.verdict, one.reason, said.get(one.order, [])) for one in launches
    )


def _case(order: Ordered, verdict: Verdict, reason: str, said: Sequence[Outcome]) -> Case:
    stages = {one.stage: one for one in said}
    decision = stages.get(Stage.ADMITTED, stages.get(Stage.REFUSED))
    end = stages.get(Stage.BUILT, stages.get(Stage.FAILED))
    return Case(
        order=order,
        verdict=verdict,
        reason=reason,
        domain=next(((one.domid, one.incarnation) for one in said if one.domid >= 0), None),
        sampled=max((one.sampled for one in said), default=0),
        decided=0 if decision is None else decision.commit,
        decided_at=0.0 if decision is None else decision.time,
        ended=0 if end is None else end.commit,
    )


def build_times(outcomes: Iterable[Outcome]) -> tuple[Seconds, ...]:
    """Emulated seconds from admission to the end of the build, of every launch that was built."""
    admitted: dict[int, Seconds] = {}
    times: list[Seconds] = []
    for one in outcomes:
        if one.stage is Stage.ADMITTED:
            admitted[one.order] = one.time
        elif one.stage is Stage.BUILT and one.order in admitted:
            times.append(one.time - admitted[one.order])
    return tuple(times)


def median_build_time(times: Sequence[Seconds]) -> Seconds | None:
    """None when nothing was built: then a claim is held to the end of the journal."""
    return median(times) if times else None


def whole_need(order: Ordered, release: Release) -> Pages:
    """Pages that the launch takes from an empty start: its memory, and what Xen spends on it (A31)."""
    pages = final_tot_pages(order.builder, order.pages)
    if not is_hvm(order.builder):
        return pages + release.pv_structure_pages
    return pages + release.hvm_structure_pages + paging_pool(order.max_pages, order.vcpus)
