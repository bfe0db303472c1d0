"""The first thing that a page says: does the run count, and what came of every scheme."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hypervisor.public.units import Pages
from launch.judge.figures import Figures, figures
from launch.launches import Launch
from launch.launches import Verdict as Fate
from launch.over_hosts import OverHosts
from launch.report.folder import RunFolder
from launch.summary import SchemeSummary


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one run."""

    name: str
    heading: str
    word: str
    """valid, INVALID or unfinished."""
    sentences: tuple[tuple[str, str], ...]
    """Scheme, and what came of it."""
    remarks: tuple[str, ...]


def verdict(run: RunFolder, name: str) -> Verdict:
    """In words; `name` is what the page calls the run."""
    summary = run.summary
    scenario = run.scenario.get("name", run.name)
    if summary is None:
        word, heading = "unfinished", f"{scenario}: no summary.json, so no verdict on the whole run"
    else:
        word = "valid" if summary.valid else "INVALID"
        heading = f"{scenario}: release {summary.release}, seed {summary.seed}"
    return Verdict(name, heading, word, tuple(_sentences(run)), run.remarks)


def _sentences(run: RunFolder) -> Iterator[tuple[str, str]]:
    schemes = dict.fromkeys(host.scheme for host in run.hosts)
    summaries = {} if run.summary is None else run.summary.schemes
    over = {} if run.summary is None else run.summary.over_hosts
    for scheme in schemes:
        judged = [
            host.judgement for host in run.hosts if host.scheme == scheme and host.judgement is not None
        ]
        parts = [_over_hosts(over[scheme])] if scheme in over else []
        if scheme in summaries:
            launches = [one for host in run.hosts if host.scheme == scheme for one in host.launches()]
            parts.append(_answers(summaries[scheme], launches, "orders" if scheme in over else "launches"))
        parts += [_judged(figures(judged))] if judged else ["not judged"]
        yield scheme, "; ".join(parts)


def _over_hosts(one: OverHosts) -> str:
    text = f"{one.launches:,} launches, {one.running:,} running in the end"
    if one.attempts_per_launch is not None:
        text += f" after {one.attempts_per_launch:.3g} attempts each"
    return text


def _answers(one: SchemeSummary, launches: Sequence[Launch], what: str) -> str:
    """`what`: of several hosts a launch may be several orders."""
    text = f"{one.launches:,} {what}, {one.admitted:,} admitted, {one.refused:,} refused at once"
    late = [launch for launch in launches if launch.verdict is Fate.FAILED_LATE]
    if late:
        text += f", {len(late):,} failed late ({_discarded(late):,} pages thrown away)"
    unsettled = [launch for launch in launches if launch.verdict is Fate.UNSETTLED]
    if unsettled:
        text += f", {len(unsettled):,} unsettled when the run ended ({_discarded(unsettled):,} pages so far)"
    return text


def _discarded(launches: Iterable[Launch]) -> Pages:
    return sum(launch.pages_discarded for launch in launches)


def _judged(one: Figures) -> str:
    wrong = [
        (one.false_grants, "false grants"),
        (one.overtaken, "overtaken"),
        (one.false_refusals, "false refusals"),
        (one.fitted_at_first, "refused though they fitted at first"),
        (one.pain_by_scheme, "pages refused to guests while free, by the scheme's own action"),
    ]
    found = ", ".join(f"{count:,} {what}" for count, what in wrong if count)
    return f"the judge: {found or 'no wrong decision'}"
