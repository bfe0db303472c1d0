"""The invariants after every step, at a cost that does not grow with the number of domains.

A step says beforehand which domains it writes. So what it did to the sums is known from those domains
alone, and almost every step can be seen to have broken nothing. The others, and every step while the books
are tight, get the full look of `invariants.check_counters` and `transitions.compare`. Both ways end in the
same functions, so there is one definition of every invariant. Now and then everything is counted anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from hypervisor.core.domain import Dying
from hypervisor.core.host import Host
from hypervisor.core.invariants import Broken, check_counters, check_frames, permitting_rule, unpermitted
from hypervisor.core.steps import Caller, Step
from hypervisor.core.transitions import Counters, DomainCounters, compare, counters
from hypervisor.public.units import DomId

COUNT_EVERY: Final = 2_000
"""Steps between two full counts of all domains."""
FRAMES_EVERY: Final = 20_000
"""Steps between two walks over every frame, each a few tenths of a second on a 16 GiB host."""

Figures = tuple[int, int, int, int]
"""(tot_pages, max_pages, outstanding_pages, is_dying)."""


class Books:
    """One host's books, looked at after every step."""

    def __init__(self, host: Host, pending: Callable[[], Iterable[Step]]) -> None:
        """`pending`: the next steps of the requests under way, asked for when a full look needs them."""
        self._host = host
        self._pending = pending
        self._leak_permitted = permitting_rule(Broken("I2", "leak", ""), host.release) is not None
        self._free = self._in_flight = self._claims = self._offlined = 0
        self._held = self._promised = 0
        self._figures: dict[DomId, Figures] = {}
        self._incarnations: dict[DomId, int] = {}
        self._claimed_dying = False
        self._steps = 0
        self.full_looks = 0
        """Steps that needed the full look."""
        self._adopt()

    def after(self, step: Step) -> tuple[Broken, ...]:
        """What `step`, just done, broke that no rule of the release permits."""
        host = self._host
        self._steps += 1
        free, claims, in_flight = host.heap.total_avail, host.outstanding_claims, host.in_flight_pages
        if len(host.domids) != len(self._figures) or self._claimed_dying:
            return self._full_look(step)
        freeable = 0 if host.tmem is None else host.tmem.freeable
        held, promised = self._held, self._promised
        changed: list[tuple[DomId, Figures]] | None = None
        for kind, number in step.writes:
            if kind != "domain" or isinstance(number, str):
                continue
            domain = host.domains.get(number)
            if domain is None:
                continue
            was = self._figures[domain.domid]
            now = (domain.tot_pages, domain.max_pages, domain.outstanding_pages, int(domain.is_dying))
            if now != was:
                if _suspicious(step.name, was, now):
                    return self._full_look(step)
                held += now[0] - was[0]
                promised += now[2] - was[2]
                if changed is None:
                    changed = []
                changed.append((domain.domid, now))
        if (
            free + freeable + held + host.sharing.nr_shared + host.xen_pages + in_flight + host.offlined_pages
            != host.total_pages
            or host.offlined_pages != self._offlined
            or (host.node_outstanding_claims and (claims != self._claims or _node_short(host)))
            or claims > free
            or claims - promised != self._claims - self._promised
            or (claims != promised and not (self._leak_permitted and claims > promised))
            or (free < self._free and self._claims > free)
            or free < 0
            or in_flight < 0
            or host.xen_pages < 0
            or claims < 0
        ):
            return self._full_look(step)
        self._free, self._claims, self._in_flight = free, claims, in_flight
        self._held, self._promised = held, promised
        if changed is not None:
            self._figures.update(changed)
        if self._steps % COUNT_EVERY == 0:
            return self._count()
        return ()

    def close(self) -> tuple[Broken, ...]:
        """The last look: everything, and nothing may be left in flight when nobody is under way (I10)."""
        broken = (*self._count(), *unpermitted(check_frames(self._host), self._host.release))
        left = self._host.in_flight_pages
        if left and not list(self._pending()):
            broken += (Broken("I10", "", f"{left} pages in flight with nothing under way"),)
        return broken

    def _full_look(self, step: Step) -> tuple[Broken, ...]:
        self.full_looks += 1
        host = self._host
        before, after = self._counters(), counters(host)
        broken = (*check_counters(host, self._pending()), *compare(step, before, after))
        self._adopt()
        return unpermitted(broken, host.release)

    def _count(self) -> tuple[Broken, ...]:
        """Everything anew; a difference means that some step wrote what it had not declared."""
        host = self._host
        kept = (self._free, self._claims, self._in_flight, self._held, self._promised, dict(self._figures))
        self._adopt()
        found = (self._free, self._claims, self._in_flight, self._held, self._promised, self._figures)
        broken = unpermitted(check_counters(host, self._pending()), host.release)
        if kept != found:
            broken += (Broken("declared", "", "a step changed a domain that it had not declared to write"),)
        if self._steps % FRAMES_EVERY == 0:
            broken += unpermitted(check_frames(host), host.release)
        return broken

    def _adopt(self) -> None:
        """Take the host as it is."""
        host = self._host
        self._free, self._claims = host.heap.total_avail, host.outstanding_claims
        self._in_flight, self._offlined = host.in_flight_pages, host.offlined_pages
        domains = [host.domains[domid] for domid in host.domids]
        self._figures = {
            one.domid: (one.tot_pages, one.max_pages, one.outstanding_pages, int(one.is_dying))
            for one in domains
        }
        self._incarnations = {one.domid: one.incarnation for one in domains}
        self._held = sum(one[0] for one in self._figures.values())
        self._promised = sum(one[2] for one in self._figures.values())
        self._claimed_dying = any(one[2] and one[3] for one in self._figures.values())

    def _counters(self) -> Counters:
        """The counters before the step."""
        return Counters(
            free=self._free,
            outstanding_claims=self._claims,
            in_flight=self._in_flight,
            offlined=self._offlined,
            domains={
                Caller(domid, self._incarnations[domid]): DomainCounters(tot, limit, claim, Dying(dying))
                for domid, (tot, limit, claim, dying) in self._figures.items()
            },
        )


def _node_short(host: Host) -> bool:
    """True when more is claimed of a node than it has free (I11)."""
    return any(pages > host.heap.node_avail(node) for node, pages in host.node_outstanding_claims.items())


def _suspicious(name: str, was: Figures, now: Figures) -> bool:
    """True when a change of one domain may break I4 or I5, or a counter is negative."""
    tot, limit, claim, dying = now
    return (
        (claim > was[2] and tot + claim > limit)
        or (tot > was[0] and tot > limit)
        or (tot > was[0] and claim and tot + claim > limit)
        or (limit != was[1] and name != "max_mem")
        or (dying and claim > 0)
        or tot < 0
        or claim < 0
        or limit < 0
    )
