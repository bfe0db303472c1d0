"""Pages that tmem costs Xen itself, which only the recording knows (rule 1 of the 4.12 recordings).

A client and a pool are made of small allocations that share pages with everything else in Xen, so how many
pages one takes or gives back varies by some. free + freeable + the sum of tot_pages moves by just that.
"""

from typing import Final

from hypervisor.core.host import Host
from hypervisor.public.errors import Errno
from launch.conform.recording import TMEM_OPS, Line, RecordedState

MOST: Final = 8
"""More than this is a fault of the core, not of Xen's small allocations."""
CLIENT_PAGES: Final = 2


class XenCosts:
    """Sums of the recording, line by line."""

    def __init__(self, state: RecordedState) -> None:
        self._freeable_and_tot = _kept(state)

    def before(self, host: Host, line: Line) -> int:
        """The core's sum before the line, with new clients and pools set to cost what they did in Xen."""
        cost = line.free_before + self._freeable_and_tot - line.state.free - _kept(line.state)
        tmem = host.tmem
        if line.op in TMEM_OPS and tmem is not None:
            makes_pool = line.op == "tpool" and line.ret >= 0
            lacks_memory = line.op == "tpool" and line.errno == Errno.ENOMEM
            domid = line.state.doms[line.client].domid if line.client in line.state.doms else line.cli
            if domid not in tmem.clients:
                cost -= CLIENT_PAGES
            tmem.pool_pages = max(0, min(cost, 1)) if makes_pool else int(lacks_memory)
            tmem.client_extra_pages = max(0, cost - tmem.pool_pages)
        return _core_sum(host)

    def after(self, host: Host, line: Line, before: int) -> int:
        """Pages that Xen freed of its own beyond those the core did; 0 for lines without tmem."""
        kept = _kept(line.state)
        recorded = line.state.free + kept - line.free_before - self._freeable_and_tot
        self._freeable_and_tot = kept
        more = recorded - (_core_sum(host) - before)
        return more if line.op in TMEM_OPS and abs(more) <= MOST else 0


def _kept(state: RecordedState) -> int:
    domains = sum(domain.tot for domain in state.doms.values() if domain.domid)
    return state.freeable + state.dom0_tot + domains


def _core_sum(host: Host) -> int:
    freeable = 0 if host.tmem is None else host.tmem.freeable
    held = sum(host.domains[domid].tot_pages for domid in host.domids)
    return host.heap.total_avail + freeable + held
