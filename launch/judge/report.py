"""The judge for readers: a table with the schemes as columns, and the witnesses, a line each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from rich.table import Table

from hypervisor.public.units import Seconds
from launch.judge.figures import Figures, figures
from launch.judge.verdict import (
    Cause,
    Grant,
    GuestJudgement,
    HostJudgement,
    Judgement,
    LaunchJudgement,
    Mover,
    Refused,
)

_HEADINGS = (
    ("judged", "launches judged"),
    ("fitted", "fitted at the decision"),
    ("false_refusals", "false refusals"),
    ("promised_refusals", "of these, promised to builds under way"),
    ("fitted_at_first", "refused, fitted at first only"),
    ("false_grants", "false grants"),
    ("overtaken", "overtaken (granted, then granted away)"),
    ("late_failures", "late failures"),
    ("wasted_page_seconds", "wasted page-seconds"),
    ("window_p50_s", "first sample to last check, p50 (emulated s)"),
    ("window_p99_s", "first sample to last check, p99 (emulated s)"),
    ("moved_in_windows", "pages that guests moved meanwhile"),
)
_TAIL = (
    ("refused_without", "pages refused with none free"),
    ("gini_refused", "Gini of refused pages over guests"),
    ("gini_swapped", "Gini of swapped pages over guests"),
    ("domains", "most domains at once"),
    ("sum_of_maxes", "sum of maxes / capacity"),
    ("max_of_sums", "max of sums / capacity"),
)
_BY_CAUSE = (
    ("refused_while_free", "pages refused by {} while free"),
    ("swapped", "pages swapped, charged to {}"),
    ("oom_kills", "OOM kills, charged to {}"),
)


@dataclass(frozen=True, slots=True)
class RunJudgement:
    """All hosts of a run, by scheme."""

    build_time: Seconds | None
    """Emulated seconds for which a launch would have held its claim; None: to the end of each journal."""
    schemes: Mapping[str, tuple[HostJudgement, ...]]

    def figures(self) -> dict[str, Figures]:
        """A row for each scheme."""
        return {scheme: figures(hosts) for scheme, hosts in self.schemes.items()}

    def as_json(self) -> dict[str, Any]:
        """judge.json."""
        return {
            "build_time": self.build_time,
            "schemes": msgspec.to_builtins(self.figures()),
            "hosts": [msgspec.to_builtins(host) for hosts in self.schemes.values() for host in hosts],
            "witnesses": list(self.witnesses()),
        }

    def witnesses(self) -> Iterator[str]:
        """Every wrong decision, every late failure, and the worst that each guest met: one line each."""
        for hosts in self.schemes.values():
            for host in hosts:
                for launch in host.launches:
                    yield from (f"{host.name}: order {launch.order}: {text}" for text in launch_lines(launch))
                for guest in host.guests:
                    yield from (f"{host.name}: {guest_name(guest)}: {text}" for text in guest_lines(guest))

    def table(self) -> Table:
        """For the terminal."""
        table = Table(title="the judge", caption=self.measure(), title_justify="left", caption_justify="left")
        table.add_column("")
        for scheme in self.schemes:
            table.add_column(scheme, justify="right")
        for title, *cells in self.rows():
            table.add_row(title, *cells)
        return table

    def measure(self) -> str:
        """What "throughout" means here."""
        if self.build_time is None:
            return "a claim is thought to be held to the end"
        return f"a claim is thought to be held for {self.build_time:.3g} s, the median build"

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Heading and one cell a scheme, for every figure."""
        found = list(self.figures().values())
        for name, title in _HEADINGS:
            yield (title, *(_cell(getattr(one, name)) for one in found))
        for name, title in _BY_CAUSE:
            causes = sorted({cause for one in found for cause in getattr(one, name)})
            for cause in causes:
                yield (title.format(cause), *(_cell(getattr(one, name).get(cause, 0)) for one in found))
        for name, title in _TAIL:
            yield (title, *(_cell(getattr(one, name)) for one in found))

    def markdown(self) -> str:
        """A part of summary.md."""
        lines = ["", "## The judge", "", f"{self.measure()}.", ""]
        lines += [f"| | {' | '.join(self.schemes)} |", f"| --- |{' ---: |' * len(self.schemes)}"]
        lines += [f"| {' | '.join(row)} |" for row in self.rows()]
        return "\n".join(lines) + "\n"


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    whole = isinstance(value, int) or value.is_integer()
    return f"{value:,.0f}" if whole else f"{value:,.3f}"


# ---- witnesses


def launch_lines(one: LaunchJudgement) -> Iterator[str]:
    """What was wrong with its decision, what moved meanwhile, and how it failed: a line each."""
    fit, window, failure = one.fit, one.window, one.failure
    wrong = one.judgement not in (Judgement.GRANTED, Judgement.REFUSED, Judgement.UNJUDGED)
    if fit is not None and wrong:
        text = (
            f"{one.judgement}: {fit.needed:,} pages needed, {fit.free:,} free, {fit.claims:,} of them claimed"
            f"{'' if window is None else f' at commit {window.decided}'}"
        )
        if fit.tightest is not None and fit.margin is not None:
            grant = fit.tightest
            text += (
                f"; {'first grant against it' if fit.margin < 0 else 'tightest grant'}: {grant.pages:,} pages"
                f" to domain {grant.domid} (operation {grant.operation}, commit {grant.commit}), which left "
                f"{fit.margin:,} above its need"
            )
        if fit.promised is not None:
            text += f"; promised: {_kept(fit.promised)}"
        yield f"{text}{f'; said: {one.reason}' if one.reason else ''}"
    if window is not None and window.witness is not None and wrong:
        seconds = "" if window.seconds is None else f" ({window.seconds:.3g} s)"
        yield (
            f"sampled at commit {window.sampled}, last check at commit {window.decided}{seconds}: guests "
            f"moved {window.guests_up:,} pages up and {window.guests_down:,} down, most of all "
            f"{_mover(window.witness)}"
        )
    if failure is not None:
        cause = "no refusal" if failure.cause is None else f"{failure.cause} at commit {failure.commit}"
        takers = ", ".join(map(_mover, failure.takers)) or "nobody"
        yield (
            f"failed late by {cause}, {failure.free:,} pages free; "
            f"{failure.page_seconds:,.0f} page-seconds wasted; grew since the decision: {takers}"
        )


def _kept(grant: Grant) -> str:
    return (
        f"had it kept its pages, the build of domain {grant.domid}, admitted before, would have been refused "
        f"{grant.pages:,} (operation {grant.operation}, commit {grant.commit})"
    )


def _mover(one: Mover) -> str:
    return (
        f"domain {one.domid} (+{one.up:,} -{one.down:,}, operations {one.first_operation} to "
        f"{one.last_operation}, commits {one.first_commit} to {one.last_commit})"
    )


def guest_name(one: GuestJudgement) -> str:
    """For readers."""
    return f"domain {one.domid}" + ("" if one.launch is None else f" (launch {one.launch})")


def guest_lines(guest: GuestJudgement) -> Iterator[str]:
    """What it was refused while memory was free: a line for each cause."""
    shown: Sequence[Refused] = [
        one for one in guest.refused if one.times_while_free and one.cause is not Cause.OWN_MAXIMUM
    ]
    for one in shown:
        by = f" by {one.by}" if one.by else ""
        yield (
            f"refused by {one.cause} while memory was free: {one.times_while_free:,} times, "
            f"{one.pages_while_free:,} pages; first operation {one.operation}, commit {one.commit}, "
            f"{one.free:,} pages free{by}"
        )
