"""One journal judged: a single pass through the states of the host, with everything that watches it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import BinaryIO

from guests.report import GuestReport
from hypervisor.journal import JournalReader
from hypervisor.public.domctl import MaxMem
from hypervisor.public.orders import Outcome
from hypervisor.public.units import DOMID_DOM0, Seconds
from launch.check.finding import UnknownError
from launch.check.states import Clocked, Done, Journal, States, cut_off
from launch.judge.cases import Case, Key, build_times, cases, median_build_time
from launch.judge.failure import Failures
from launch.judge.fit import Fits
from launch.judge.ledger import Ledger
from launch.judge.pain import Pain
from launch.judge.timing import TimedJournal
from launch.judge.verdict import (
    Failure,
    Fit,
    GuestJudgement,
    HostJudgement,
    Judgement,
    LaunchJudgement,
    Marks,
    Window,
)
from launch.judge.window import Windows
from launch.launches import Verdict
from launch.records import Ordered


@dataclass(frozen=True, slots=True)
class HostEvidence:
    """What one host leaves, beside its journal; histories are the checker's business."""

    orders: Sequence[Ordered]
    outcomes: Sequence[Outcome]
    reports: Sequence[GuestReport] = ()


def judge_stream(
    journal: BinaryIO, evidence: HostEvidence, name: str = "", build_time: Seconds | None = None
) -> HostJudgement:
    """As `judge_host`, from a journal's bytes. `JournalError` when they are none."""
    return judge_host(JournalReader(journal), evidence, name, build_time)


def judge_host(
    journal: Journal, evidence: HostEvidence, name: str = "", build_time: Seconds | None = None
) -> HostJudgement:
    """Judge one host. Pure but for the stop watch.

    build_time: emulated seconds for which a launch would have held its claim (`launch.judge.build_time`);
    None, where the scenario is not known, takes the median of the builds in the evidence, and where there is
    none, the rest of the journal. EvidenceError for a journal that is not what happened, UnknownError for one
    that cannot be replayed.
    """
    begun = perf_counter()
    if build_time is None:
        build_time = median_build_time(build_times(evidence.outcomes))
    bench = _Bench(journal, evidence, build_time)
    bench.sit()
    bench.hold_to_the_end()
    return bench.verdict(name, perf_counter() - begun)


class _Bench:
    """Everything that watches one journal go by."""

    def __init__(self, journal: Journal, evidence: HostEvidence, build_time: Seconds | None) -> None:
        self._journal = TimedJournal(journal, evidence.outcomes)
        self._states = States(self._journal, "journal.msgpack")
        self._release = str(journal.header.get("release"))
        host = self._states.host
        self._evidence = evidence
        self._build_time = build_time
        self._cases = cases(evidence.orders, evidence.outcomes)
        launches = {case.domain: case.number for case in self._cases if case.domain is not None}
        self._launches: Mapping[Key, int] = launches
        self._ledger = Ledger(host)
        dom0 = self._ledger.figures.get(DOMID_DOM0)
        self._capacity = host.total_pages - host.xen_pages - (0 if dom0 is None else dom0.tot_pages)
        self._fits = Fits(self._cases, host, build_time)
        self._windows = Windows(self._cases)
        self._failures = Failures(self._cases)
        self._pain = Pain(host, self._ledger, launches)

    def hold_to_the_end(self) -> None:
        """After `sit`. UnknownError for a journal that has been cut off."""
        reason = cut_off(self._states, self._evidence.outcomes)
        if reason:
            raise UnknownError(reason)

    def sit(self) -> None:
        """The whole journal."""
        now: Seconds | None = None
        for item in self._states.steps():
            if isinstance(item, Clocked):
                continue  # the journal has told the time before the steps
            time = self._journal.now(item.result.commit)
            if time is not None and (now is None or time > now):
                now = time
                self._failures.clock(now)
                self._fits.clock(now)
                self._pain.deficits.clock(now)
            self._step(item, now)

    def _step(self, done: Done, now: Seconds | None) -> None:
        commit = done.result.commit
        change = self._ledger.after(done)
        if change is not None:
            self._windows.changed(change)
            self._fits.changed(change)
            self._failures.changed(change)
            self._pain.deficits.changed(change)
        if type(done.one.operation.request) is MaxMem:
            self._pain.limited(done)
        if done.result.refusals or self._pain.unfinished:
            self._refusals(done)
        self._fits.decided(commit)
        self._windows.reached(commit, now)

    def _refusals(self, done: Done) -> None:
        one, result = done.one, done.result
        for refusal in result.refusals:
            told = self._pain.refused(one, refusal, result.commit)
            if told is not None:
                key, cause, free = told
                self._failures.refused(key, cause, result.commit, free)
        if result.reply is not None and one.operation.number in self._pain.unfinished:
            self._pain.finished(one, result.reply)

    # ---- what came of it

    def verdict(self, name: str, seconds: float) -> HostJudgement:
        """After `sit`."""
        fits, windows = self._fits.fits(), self._windows.windows()
        failures = self._failures.failures()
        marks = self._ledger.marks
        return HostJudgement(
            name=name,
            release=self._release,
            steps=self._states.commit,
            build_time=self._build_time,
            launches=tuple(
                _launch(case, fits.get(case.number), windows.get(case.number), failures.get(case.number))
                for case in self._cases
            ),
            guests=tuple(self._guests()),
            marks=Marks(marks.sum_of_maxes, marks.max_of_sums, marks.domains, self._capacity),
            seconds=round(seconds, 3),
        )

    def _guests(self) -> Sequence[GuestJudgement]:
        """Everyone who reported, and whoever was refused anything without reporting."""
        reports = {(one.domid, one.incarnation): one for one in self._evidence.reports}
        judged: list[GuestJudgement] = []
        for key in sorted({*reports, *self._pain.sufferers()}):
            report = reports.get(key)
            said = (
                (0, 0, 0)
                if report is None
                else (report.swapped_out, report.swapped_unrefused, report.oom_kills)
            )
            judged.append(GuestJudgement(*key, self._launches.get(key), self._pain.of(key), *said))
        return judged


def _launch(case: Case, fit: Fit | None, window: Window | None, failure: Failure | None) -> LaunchJudgement:
    return LaunchJudgement(
        order=case.number,
        pages=case.order.pages,
        outcome=case.verdict.value,
        judgement=_judgement(case, fit),
        reason=case.reason,
        fit=fit,
        window=window,
        failure=failure,
    )


def _judgement(case: Case, fit: Fit | None) -> Judgement:
    if fit is None or case.verdict is Verdict.UNANSWERED:
        return Judgement.UNJUDGED
    if case.verdict is not Verdict.REFUSED:
        if not fit.at_decision:
            return Judgement.FALSE_GRANT
        return Judgement.OVERTAKEN if fit.throughout is False else Judgement.GRANTED
    if not fit.at_decision:
        return Judgement.REFUSED
    return Judgement.FALSE_REFUSAL if fit.throughout else Judgement.FITTED_AT_FIRST
