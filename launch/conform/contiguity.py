"""Which lines were decided by contiguity alone: the one thing a heap that only counts cannot know (C18).

Most recordings say so in `why`. Those of 4.12 carry no `why`; there it follows from the counters after the
line, by the rules of the recordings' README (4, 5 and 10), independently of the core.
"""

from hypervisor.core.allocation import SMALLEST_LARGE_ORDER
from hypervisor.public.memory import MEMF_EXACT_NODE
from hypervisor.public.units import MAX_ORDER, Order
from launch.conform.comparison import recorded_domains
from launch.conform.recording import Line, RecordedDomain, RecordedState


def stopped_for_contiguity(line: Line) -> bool:
    """True when only the lack of a contiguous chunk, or of memory on the node asked for, stopped Xen."""
    return line.why == "contig" or (not line.why and unexplained(line))


def unexplained(line: Line) -> bool:
    """True when Xen stopped short although counters and limits allowed more of this order."""
    match line.op:
        case "populate" | "increase" | "populate_exact":
            return _short(line) and _one_more_allowed(line)
        case "exchange":
            unclaimed = line.state.free + line.state.freeable - line.state.outstanding
            largest = max(line.in_order, line.out_order)
            possible = line.out_order > 0 and unclaimed >= 1 << largest
            return line.ret != 0 and possible and not _kept_from(line.state, line.out_order)
        case _:
            return False


def blocks_had(line: Line) -> int:
    """Blocks that could be had before the one that was refused."""
    match line.op:
        case "exchange":
            return (line.nr_exchanged << line.in_order) >> line.out_order
        case "populate_exact":
            return line.done
        case _:
            return line.ret


def _short(line: Line) -> bool:
    return 0 <= blocks_had(line) < line.count


def _one_more_allowed(line: Line) -> bool:
    domain = recorded_domains(line.state).get(line.domid)
    may_lack = 0 < line.order <= MAX_ORDER or bool(line.mem_flags & MEMF_EXACT_NODE)
    return domain is not None and may_lack and _allowed(line.state, domain, line.order)


def _allowed(state: RecordedState, domain: RecordedDomain, order: Order) -> bool:
    pages = 1 << order
    held_back = state.outstanding + pages > state.free + state.freeable and domain.outstanding < pages
    at_limit = domain.tot > domain.max or pages > domain.max - domain.tot
    return not (domain.dying or held_back or at_limit or pages > state.free or _kept_from(state, order))


def _kept_from(state: RecordedState, order: Order) -> bool:
    """Large extents are refused while memory is scarce and tmem holds some (A25)."""
    scarce = state.tmem is not None and state.free <= state.tmem.get("midsize", 0)
    return scarce and state.freeable > 0 and order >= SMALLEST_LARGE_ORDER
