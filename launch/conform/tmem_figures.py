"""The figures of tmem in a recording, and the same ones from the core."""

from collections.abc import Iterable

from hypervisor.core.tmem.state import Tmem
from launch.conform.recording import TMEM_COUNTERS, Line, RecordedState

Figures = dict[str, int | str]
"""Named figures of a line: ret, errno, outstanding, A.tot, A.max, tmem.list, ..."""


def tmem_recorded(state: RecordedState) -> Figures:
    """tmem's counters after a line."""
    if state.tmem is None:
        return {}
    return {f"tmem.{name}": state.tmem[name] for name in TMEM_COUNTERS if name in state.tmem}


def tmem_counters(tmem: Tmem) -> Figures:
    """The same from the core."""
    counts = tmem.statistics
    return {
        "tmem.list": len(tmem.page_list),
        "tmem.freeable": tmem.freeable,
        "tmem.midsize": tmem.midsize,
        "tmem.eph": tmem.eph_count,
        "tmem.pgps": tmem.pages,
        "tmem.objs": tmem.objects,
        "tmem.nodes": tmem.nodes,
        "tmem.data_pages": tmem.data_pages,
        "tmem.evicted": counts.evicted,
        "tmem.evict_attempts": counts.evict_attempts,
        "tmem.relinq": counts.relinq,
        "tmem.relinq_attempts": counts.relinq_attempts,
        "tmem.alloc_failed": counts.alloc_failed,
        "tmem.page_failed": counts.page_failed,
    }


def recorded_figures(line: Line) -> Figures:
    """What a line tells beside ret and errno."""
    match line.op:
        case "tput" | "tget" | "tflush" | "tflushobj":
            return repeated_figures(line.issued, line.results, line.got_seed)
        case "tinfo" if line.ret == 0:
            return {"flags": line.flags, "weight": line.weight, "nr_pools": line.nr_pools}
        case "tlist":
            return list_figures(line.lines)
        case _:
            return {}


def repeated_figures(issued: int, results: dict[str, int], got: int | None) -> Figures:
    """A command issued several times: answers by how often, and the content last read."""
    figures: Figures = {f"answers {answer}": times for answer, times in results.items()}
    figures["issued"] = issued
    if got is not None:
        figures["got"] = got
    return figures


def list_figures(lines: Iterable[str]) -> Figures:
    """Lines of LIST by what they are about: clients, pools and shared pools.

    Left out are the host's totals since its boot, which `state.tmem` tells as far as they can be known, and
    domain 0, which was a client before the recording began.
    """
    figures: Figures = {}
    for line in lines:
        if line.startswith(("C=", "P=", "S=")) and not line.startswith(("C=CI:0,", "P=CI:0,")):
            number = sum(name.startswith(line[:2]) for name in figures)
            figures[f"{line[:2]}{number}"] = line
    return figures
