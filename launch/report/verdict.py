"""The first thing that a page says: does the run count, and what came of every scheme."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from launch.judge.figures import Figures, figures
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
    for scheme in schemes:
        judged = [
            host.judgement for host in run.hosts if host.scheme == scheme and host.judgement is not None
        ]
        parts = [_answers(summaries[scheme])] if scheme in summaries else []
        parts += [_judged(figures(judged))] if judged else ["not judged"]
        yield scheme, "; ".join(parts)


def _answers(one: SchemeSummary) -> str:
    text = f"{one.launches:,} launches, {one.admitted:,} admitted, {one.refused:,} refused at once"
    if one.failed_late:
        text += f", {one.failed_late:,} failed late ({one.pages_discarded:,} pages thrown away)"
    return text


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
