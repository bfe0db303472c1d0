"""The invariants after every step, at a cost that does not grow with the number of domains.

A step says beforehand which domains it writes. So what it did to the sums is known from those domains
alone, and almost every step can be seen to have broken nothing. The others, and every step while the books
are tight, get the full look of `invariants.check_counters` and `transitions.compare`. Both ways end in the
same functions, so there is one definition of every invariant. Now and then everything is counted anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from hypervisor.core.domain import Domain, Dying
from hypervisor.core.host import Host
from hypervisor.core.invariants import (
    Broken,
    check_counters,
    check_frames,
    leaning_pages,
    permitting_rule,
    unpermitted,
)
from hypervisor.core.steps import Caller, Resource, Step
from hypervisor.core.transitions import Counters, DomainCounters, compare, counters
from hypervisor.public.units import DomId

COUNT_EVERY: Final = 2_000
"""Steps between two full counts of all domains, at least."""
STEPS_PER_DOMAIN: Final = 4
"""Steps for each domain there is between two full counts, so that a step's share of them does not grow."""
COUNTS_PER_WALK: Final = 10
"""Full counts between two walks over every frame, each a few tenths of a second on a 16 GiB host."""

Figures = tuple[int, int, int, Dying]
"""(tot_pages, max_pages, outstanding_pages, is_dying)."""
Changes = list[tuple[DomId, Figures]]
"""Domains with what they have become."""
WRITES_KEPT: Final = 4096
"""Sets of declared writes of which the domains are remembered."""


Sums = tuple[int, int, int, int, int, int, int]
"""(available, outstanding_claims, in flight, free, Xen's, shared, offlined), pages.

Available is free, and freeable by tmem: what claims are held against (C14).
"""


class Books:
    """One host's books, looked at after every step."""

    def __init__(self, host: Host, pending: Callable[[], Iterable[Step]]) -> None:
        """`pending`: the next steps of the requests under way, asked for when a full look needs them."""
        self._host = host
        self._pending = pending
        self._leak_permitted = permitting_rule(Broken("I2", "leak", ""), host.release) is not None
        self.sums: Sums = _sums(host)
        """As the last step left them."""
        self._held = self._promised = 0
        self._figures: dict[DomId, Figures] = {}
        self._incarnations: dict[DomId, int] = {}
        self._claimed_dying = self._looked_fully = False
        self._domains_of: dict[frozenset[Resource], tuple[DomId, ...]] = {}
        self._steps = 0
        self._next_count = COUNT_EVERY
        self.full_looks = 0
        """Steps that needed the full look."""
        self.counts = 0
        """Full counts of all domains."""
        self._adopt()

    def after(self, step: Step) -> tuple[Broken, ...]:
        """What `step`, just done, broke that no rule of the release permits."""
        host, figures, writes = self._host, self._figures, step.writes
        self._steps += 1
        if not writes and not self._looked_fully and self._steps < self._next_count:
            return ()  # it has changed nothing; if it did, the next count says so
        came_or_went = len(host.domids) != len(figures)
        if self._claimed_dying or (came_or_went and not self._came_or_went(writes)):
            return self._full_look(step)
        sums = _sums(host)
        held, promised = self._held, self._promised
        changes: Changes | tuple[()] = ()
        domids = self._domains_of.get(writes)
        for domid in self._remember(writes) if domids is None else domids:
            domain = host.domains.get(domid)
            if domain is None:
                continue
            was = figures[domid]
            now = (domain.tot_pages, domain.max_pages, domain.outstanding_pages, domain.is_dying)
            if now == was:
                continue
            if _suspicious(step.name, was, now):
                return self._full_look(step)
            held += now[0] - was[0]
            promised += now[2] - was[2]
            changes = [*changes, (domid, now)]
        # What was seen to balance and has not moved balances still.
        if changes or sums != self.sums or came_or_went or self._looked_fully or host.node_outstanding_claims:
            if self._tight(sums, held, promised):
                return self._full_look(step)
            self.sums, self._held, self._promised = sums, held, promised
            self._looked_fully = False
            for domid, now in changes:
                figures[domid] = now
        if self._steps >= self._next_count:
            return self._count()
        return ()

    def _came_or_went(self, writes: frozenset[Resource]) -> bool:
        """Take in the one domain that the step made, or leave out those it declared that are no more.

        False when that is not all, or a claim comes or goes with a domain: then the full look must tell.
        """
        host, figures = self._host, self._figures
        newest = next(reversed(host.domains.values()))
        if newest.domid not in figures:
            now = _figures(newest)
            if now[2] or _suspicious("create", now, now):
                return False
            figures[newest.domid], self._incarnations[newest.domid] = now, newest.incarnation
            self._held += now[0]
        else:
            for domid in self._remember(writes):
                if domid in figures and domid not in host.domains:
                    if figures[domid][2]:
                        return False
                    self._held -= figures.pop(domid)[0]
                    del self._incarnations[domid]
        return len(host.domids) == len(figures)

    def _remember(self, writes: frozenset[Resource]) -> tuple[DomId, ...]:
        """The domains among declared writes, in the order of their numbers."""
        if len(self._domains_of) >= WRITES_KEPT:
            self._domains_of.clear()
        domids = sorted(number for kind, number in writes if kind == "domain" and isinstance(number, int))
        return self._domains_of.setdefault(writes, tuple(domids))

    def _tight(self, sums: Sums, held: int, promised: int) -> bool:
        """True when the sums alone cannot show that nothing broke."""
        host = self._host
        available_before, claims_before, *_, offlined_before = self.sums
        available, claims, in_flight, free, xen, shared, offlined = sums
        return (
            available + held + shared + xen + in_flight + offlined != host.total_pages
            or offlined != offlined_before
            or (bool(host.node_outstanding_claims) and (claims != claims_before or _node_short(host)))
            or claims > available
            or claims - promised != claims_before - self._promised
            or (claims != promised and not (self._leak_permitted and claims > promised))
            or (available < available_before and claims_before > available)
            or free < 0
            or in_flight < 0
            or xen < 0
            or claims < 0
        )

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
        self._looked_fully = True
        return unpermitted(broken, host.release)

    def _count(self) -> tuple[Broken, ...]:
        """Everything anew; a difference means that some step wrote what it had not declared."""
        host = self._host
        kept = (self.sums, self._held, self._promised, dict(self._figures))
        self._adopt()
        found = (self.sums, self._held, self._promised, self._figures)
        broken = unpermitted(check_counters(host, self._pending()), host.release)
        if kept != found:
            broken += (Broken("declared", "", "a step changed a domain that it had not declared to write"),)
        self._next_count = self._steps + max(COUNT_EVERY, STEPS_PER_DOMAIN * len(host.domids))
        self.counts += 1
        if self.counts % COUNTS_PER_WALK == 0:
            broken += unpermitted(check_frames(host), host.release)
        return broken

    def _adopt(self) -> None:
        """Take the host as it is."""
        host = self._host
        self.sums = _sums(host)
        domains = [host.domains[domid] for domid in host.domids]
        self._figures = {one.domid: _figures(one) for one in domains}
        self._incarnations = {one.domid: one.incarnation for one in domains}
        self._held = sum(one[0] for one in self._figures.values())
        self._promised = sum(one[2] for one in self._figures.values())
        self._claimed_dying = any(one[2] and one[3] for one in self._figures.values())

    def _counters(self) -> Counters:
        """The counters before the step."""
        available, claims, in_flight, *_, offlined = self.sums
        return Counters(
            free=available,
            outstanding_claims=claims,
            in_flight=in_flight,
            leaning=leaning_pages(self._host, in_flight),
            offlined=offlined,
            domains={
                Caller(domid, self._incarnations[domid]): DomainCounters(tot, limit, claim, dying)
                for domid, (tot, limit, claim, dying) in self._figures.items()
            },
        )


def _figures(domain: Domain) -> Figures:
    """As they are now."""
    return (domain.tot_pages, domain.max_pages, domain.outstanding_pages, domain.is_dying)


def _sums(host: Host) -> Sums:
    """As they are now."""
    tmem, free = host.tmem, host.heap.total_avail
    return (
        free if tmem is None else free + tmem.freeable,  # claims.available_pages, without a call
        host.outstanding_claims,
        host.in_flight_pages,
        free,
        host.xen_pages,
        host.sharing.nr_shared,
        host.offlined_pages,
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
        or (dying != Dying.ALIVE and claim > 0)
        or tot < 0
        or claim < 0
        or limit < 0
    )
