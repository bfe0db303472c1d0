"""What a line of a recording says against what the core did."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hypervisor.core.domain import Domain, Dying
from hypervisor.public.units import DOMID_DOM0, Pages
from launch.conform.answers import Answer
from launch.conform.calls import Toolstack
from launch.conform.recording import Line, RecordedDomain, RecordedState
from launch.conform.tmem_figures import Figures, recorded_figures, tmem_counters, tmem_recorded

RULES: Final[Mapping[str, str]] = {
    "create": "A31, rule 11: structures come from unclaimed memory",
    "destroy": "C30, C31, rule 9: the claim first, then the pages",
    "maxmem": "A15, rule 8: max_pages alone",
    "maxpages": "A15, rule 8: max_pages alone",
    "claim": "C7-C16, rules 1 and 2",
    "raw_claim": "C1-C16, rules 1 to 3",
    "raw_mem": "A2-A7, rule 13",
    "raw_query": "A16",
    "curres": "A16",
    "maxres": "A16",
    "populate": "C17, A12, C21-C23, rules 4 to 6",
    "populate_exact": "C17, A12, C21-C23, L8, rules 4 to 6",
    "increase": "C17, A12, C21-C23, rules 4 to 6",
    "decrease": "A11, C21, C22, rule 7",
    "exchange": "A17, C20, rule 10",
    "mempool": "A31, rule 11: from unclaimed memory, a refusal keeps what it got",
    "map": "A11, A13",
    "unmap": "A13, rule 15",
    "guest": "rule 1 of 4.12",
    "tpool": "T9, rule 13",
    "tkill": "T9, T20, T24, rule 15",
    "traw": "T5, T8",
    "tput": "T10, T20-T23, rules 6 to 9",
    "tget": "T11, rules 10 and 13",
    "tflush": "T12, rules 10 and 11",
    "tflushobj": "T12, rules 10 and 11",
    "tctl": "T14-T16, rules 11 and 12",
    "tlist": "T17",
    "tweight": "T16, T30, rule 14",
    "tinfo": "T16",
    "tauth": "T13, rule 13",
}
"""Rules that decide an operation (xen-memory.md; rule numbers without a letter: the recordings' README)."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One line on which the core and the recorded Xen differ."""

    file: str
    i: int
    line: str
    """The script's own words for the operation."""
    rule: str
    expected: Figures
    """The figures that differ, as recorded."""
    got: Figures
    """The same figures from the core."""


def answer_of(line: Line) -> Answer:
    """The recorded answer."""
    return Answer(line.ret, line.errno, line.done, line.nr_exchanged, recorded_figures(line))


def compare(
    name: str, line: Line, got: Answer, toolstack: Toolstack, other_free: Pages | None
) -> Mismatch | None:
    """None when answer, claims, free pages and every domain's counters are as recorded.

    `other_free` is what the core has free where that is not as recorded, None where it is.
    """
    expected = _answer_figures(answer_of(line)) | _recorded_figures(line.state)
    actual = _answer_figures(got) | _host_figures(line.state, toolstack)
    if other_free is not None:
        expected["free"], actual["free"] = line.state.free, other_free
    names = [key for key in {**expected, **actual} if expected.get(key) != actual.get(key)]
    if not names:
        return None
    rule = RULES[line.op] + (f"; recorded reason: {line.why}" if line.why else "")
    return Mismatch(
        name,
        line.i,
        line.src,
        rule,
        {key: expected[key] for key in names if key in expected},
        {key: actual[key] for key in names if key in actual},
    )


def _answer_figures(answer: Answer) -> Figures:
    return {
        "ret": answer.ret,
        "errno": answer.errno,
        "done": answer.done,
        "nr_exchanged": answer.nr_exchanged,
        **answer.figures,
    }


def _recorded_figures(state: RecordedState) -> Figures:
    figures: Figures = {"outstanding": state.outstanding, "dom0.tot": state.dom0_tot}
    figures |= tmem_recorded(state)
    for name, domain in state.doms.items():
        figures |= _figures(name, domain.tot, domain.max, domain.outstanding, domain.shr, dying=domain.dying)
    return figures


def _host_figures(state: RecordedState, toolstack: Toolstack) -> Figures:
    host = toolstack.machine.host
    figures: Figures = {
        "outstanding": host.outstanding_claims,
        "dom0.tot": host.domains[DOMID_DOM0].tot_pages,
    }
    if state.tmem is not None and host.tmem is not None:
        figures |= tmem_counters(host.tmem)
    names = {domain.domid: name for name, domain in state.doms.items()}
    for domid in host.domids:
        if domid in names or (domid != DOMID_DOM0 and domid not in toolstack.nameless):
            figures |= _domain_figures(names.get(domid, f"#{domid}"), host.domains[domid])
    return figures


def _domain_figures(name: str, domain: Domain) -> Figures:
    dead = domain.is_dying == Dying.DEAD  # DOMINF_dying shows no earlier (C35)
    return _figures(
        name, domain.tot_pages, domain.max_pages, domain.outstanding_pages, domain.shr_pages, dying=dead
    )


def _figures(name: str, tot: int, limit: int, outstanding: int, shr: int, *, dying: bool) -> Figures:
    return {
        f"{name}.tot": tot,
        f"{name}.max": limit,
        f"{name}.outstanding": outstanding,
        f"{name}.shr": shr,
        f"{name}.dying": int(dying),
    }


def recorded_domains(state: RecordedState) -> dict[int, RecordedDomain]:
    """The recorded domains by domid."""
    return {domain.domid: domain for domain in state.doms.values()}
