"""The figures of a run: one row of summary.json for each scheme."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Protocol

import msgspec
from msgspec import Struct

from hypervisor.public.units import Pages
from launch.better import Higher, Lower
from launch.launches import Launch, Verdict
from launch.memory_figures import NO_MEMORY_FIGURES, MemoryFigures
from launch.over_hosts import OverHosts
from launch.percentile import percentile, rounded


class GuestFigures(Protocol):
    """What a guest says about its own trouble: a part of `guests.report.GuestReport`."""

    @property
    def populate_calls_refused(self) -> int:
        """Balloon calls answered with fewer extents than asked for. Xen stops at the first extent that it
        cannot have, so each is exactly one refused allocation."""
        ...

    @property
    def swapped_out(self) -> Pages:
        """Pages written to swap because memory could not be had."""
        ...

    @property
    def oom_kills(self) -> int:
        """Times at which demand fitted neither memory nor swap."""
        ...


class SchemeSummary(Struct, frozen=True):
    """One scheme's figures, totals over the repeats, in the order of summary.json and of the table.

    hypercalls_per_launch: mean over the answered launches, admission and restore only, not the build.
    time_to_answer: emulated seconds from the order to the answer that proved final (see `Launch`).
    """

    launches: int
    admitted: Higher[int]
    refused: int
    failed_late: Lower[int]
    pages_discarded: Lower[Pages]
    guest_refused_allocations: Lower[int]
    pages_swapped: Lower[Pages]
    oom_kills: Lower[int]
    hypercalls_per_launch: Lower[float | None]
    time_to_answer_p50_s: Lower[float | None]
    time_to_answer_p99_s: Lower[float | None]
    leftovers: Lower[int]
    memory: MemoryFigures = NO_MEMORY_FIGURES


class Summary(Struct, frozen=True, omit_defaults=True):
    """summary.json. Of several hosts `schemes` counts orders, of which a launch may have several."""

    valid: bool
    seed: int
    release: str
    speed: float
    schemes: dict[str, SchemeSummary]
    over_hosts: dict[str, OverHosts] = {}
    """By scheme, launches over several hosts; left out where there is one."""

    def to_json(self) -> bytes:
        """The document, indented, with a line end."""
        return msgspec.json.format(msgspec.json.encode(self)) + b"\n"


@dataclass(frozen=True)
class Endings:
    """How a scheme's launches stood at the end, beside what summary.json counts.

    built: of the admitted. unsettled: still building or waiting in line when the run was over.
    """

    built: int
    unsettled: int


@dataclass(frozen=True)
class Report:
    """A finished run: the figures, and what a reader needs beside them.

    round_trip: real seconds of one hypercall's round trip, as measured; None if it was not.
    virtual_round_trip: emulated seconds of it where no real time passed; None for real processes.
    violations: invariants that broke without a rule of the release to permit it; none means a valid run.
    leftovers: of every scheme, what was still there before clean-up.
    notes: further lines, such as a party that was killed.
    """

    scenario: str
    summary: Summary
    round_trip: float | None = None
    virtual_round_trip: float | None = None
    violations: tuple[str, ...] = ()
    leftovers: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    notes: tuple[str, ...] = ()
    endings: dict[str, Endings] = field(default_factory=dict[str, Endings])


def summarise(
    launches: Sequence[Launch],
    guests: Iterable[GuestFigures],
    leftovers: Sequence[str],
    memory: MemoryFigures = NO_MEMORY_FIGURES,
) -> SchemeSummary:
    """The figures of one scheme from everything that its repeats reported."""
    figures = list(guests)
    answers = [launch.answered_after for launch in launches if launch.answered_after is not None]
    hypercalls = [
        launch.admission_hypercalls for launch in launches if launch.admission_hypercalls is not None
    ]
    return SchemeSummary(
        launches=len(launches),
        admitted=sum(launch.admitted for launch in launches),
        refused=_count(launches, Verdict.REFUSED),
        failed_late=_count(launches, Verdict.FAILED_LATE),
        pages_discarded=sum(launch.pages_discarded for launch in launches),
        guest_refused_allocations=sum(guest.populate_calls_refused for guest in figures),
        pages_swapped=sum(guest.swapped_out for guest in figures),
        oom_kills=sum(guest.oom_kills for guest in figures),
        hypercalls_per_launch=rounded(fmean(hypercalls)) if hypercalls else None,
        time_to_answer_p50_s=percentile(answers, 50),
        time_to_answer_p99_s=percentile(answers, 99),
        leftovers=len(leftovers),
        memory=memory,
    )


def _count(launches: Iterable[Launch], verdict: Verdict) -> int:
    return sum(launch.verdict is verdict for launch in launches)
