"""The verdicts as a table that 80 columns are enough for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from launch.debate.confirm import Confirmation, Confirmed
from launch.debate.experiment import Experiment
from launch.debate.run import Outcome
from launch.debate.verdict import Finding, Measured, Scatter


def table(outcomes: Sequence[Outcome]) -> Table:
    """A row for each: the claim and what became of it; what decides, and its figure at each point."""
    made = Table(show_lines=True, expand=False)
    made.add_column("id")
    made.add_column("claim and verdict", overflow="fold", ratio=1)
    made.add_column("what decides, at each point", overflow="fold", ratio=1)
    for one in outcomes:
        claim = Text("\n".join(_claim(one)))
        claim.highlight_words([_verdict(one)], "bold")
        made.add_row(one.experiment.id, claim, Text("\n".join(_figures(one))))
    return made


def _claim(one: Outcome) -> Iterator[str]:
    experiment = one.experiment
    yield f"{experiment.title} ({experiment.by}; Xen {experiment.release})"
    yield _verdict(one)
    if one.finding.why:
        yield one.finding.why
    if one.setting.control:
        wanted = experiment.control.verdict.value
        yield f"control: {experiment.control.about}"
        yield "as the file declares" if one.as_declared else f"the file declares: {wanted}"
    elif experiment.prior:
        yield f"prior: {experiment.prior.strip()}"
    yield f"{one.cells} runs, {one.cpu_s:.0f} CPU s"


def _verdict(one: Outcome) -> str:
    text = one.verdict.value
    if one.finding.boundary is not None:
        low, high = one.finding.boundary
        text += f" ({one.experiment.x}: {low:g} to {high:g})"
    return f"{text}, deterministic" if one.finding.deterministic else text


def _figures(one: Outcome) -> Iterator[str]:
    question = one.experiment.question
    figure = question.figure + (f" / {question.per}" if question.per else "")
    yield f"{figure}, {' less '.join(question.arms)}{_threshold(one.experiment)}"
    yield f"by {one.experiment.x}:"
    yield from _points(one.finding)
    if one.confirmation is not None:
        yield from _real(one.confirmation)


def _threshold(experiment: Experiment) -> str:
    question = experiment.question
    if question.above is not None:
        return f", above {question.above:g}"
    return "" if question.below is None else f", below {question.below:g}"


def _points(finding: Finding) -> Iterator[str]:
    for point in finding.points:
        yield f"{point.x:g}: {_measured(point.measured)}"
    if finding.slope is not None:
        yield f"slope: {_measured(finding.slope)}"


def _measured(found: Measured | None) -> str:
    if found is None:
        return "nothing to measure"
    one = found.interval
    match found.scatter:
        case Scatter.DETERMINISTIC:
            return f"{one.mean:.3g}, deterministic"
        case Scatter.ALIKE:
            return f"{one.mean:.3g} from each of {one.count} seeds"
        case Scatter.VARIES:
            few = "too few seeds for an interval"
            return f"{one.mean:.3g} [{few if one.low is None else f'{one.low:.3g}, {one.high:.3g}'}]"


def _real(told: Confirmation) -> Iterator[str]:
    if told.confirmed is Confirmed.REFUSED:
        yield f"with processes: refused: {told.why}"
        return
    yield f"with processes: {told.confirmed.value}"
    yield from _points(told.finding)
