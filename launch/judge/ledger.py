"""What every step did to the sums: pages that moved, room that was taken, and the host's highest marks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from msgspec import Struct

from hypervisor.core.claims import available_pages
from hypervisor.core.domain import Domain
from hypervisor.core.host import Host
from hypervisor.core.steps import STEPS_KEPT, Resource
from hypervisor.public.units import DOMID_DOM0, DOMID_SELF, Commit, DomId, Pages
from launch.check.states import Done, UnderWay
from launch.judge.cases import Key


@dataclass(slots=True)
class Figures:
    """One domain's, pages, as the step before left them."""

    incarnation: int
    tot_pages: Pages
    max_pages: Pages
    outstanding_pages: Pages


class Change(Struct, frozen=True, gc=False):
    """One step that moved pages or room."""

    commit: Commit
    one: UnderWay
    name: str
    subject: DomId
    """The domain that the operation is about; -1 when it is about none."""
    taken: Pages
    """By how much the room fell because memory or a claim was granted; 0 for what gives."""
    leaned: bool
    """The taker's own claim covered it, so nobody's claim could have refused it (C17)."""
    room: int
    """Free (and freeable) pages less claims, after the step."""
    moved: tuple[tuple[Key, int], ...]
    """Domains whose tot_pages changed, and by how much."""


class Marks(NamedTuple):
    """What `static` and claims book (debate, sum of maxes against max of sums), pages; dom0 left out."""

    sum_of_maxes: Pages
    """Highest sum of all domains' lifetime maxima."""
    max_of_sums: Pages
    """Highest sum of what all domains held or had claimed."""
    domains: int
    """Most domains at once."""


class Ledger:
    """Told of every step of one host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._available = available_pages(host)
        self._claims = host.outstanding_claims
        self.figures: dict[DomId, Figures] = {}
        self.lifetime: dict[Key, Pages] = {}
        """Highest max_pages that each domain has had."""
        self._written: dict[frozenset[Resource], tuple[DomId, ...]] = {}
        self._held = self._maxima = 0
        self.marks = Marks(0, 0, 0)
        self._recount()

    # Called for every step of a journal: what a step leaves alone is found out before anything is made.

    def after(self, done: Done) -> Change | None:
        """What the step changed; None when it left all sums alone."""
        host, step, figures = self._host, done.step, self.figures
        available, claims = available_pages(host), host.outstanding_claims
        own = figures.get(_subject(done.one)) if step.name == "take" else None
        own_claim = -1 if own is None else own.outstanding_pages
        moved: tuple[tuple[Key, int], ...] = ()
        if len(host.domids) != len(figures):
            self._recount()
        else:
            written = self._written.get(step.writes)
            if written is None:
                written = self._domains_in(step.writes)
            for domid in written:
                domain = host.domains.get(domid)
                if domain is not None:
                    moved += self._update(domain, figures[domid])
        gone, claimed = self._available - available, claims - self._claims
        if not (gone or claimed or moved):
            return None
        self._available, self._claims = available, claims
        marks, held = self.marks, self._held + claims
        if held > marks.max_of_sums or self._maxima > marks.sum_of_maxes or len(figures) - 1 > marks.domains:
            self._mark(held)
        taken = gone if gone > 0 else 0
        if step.name == "claim":
            taken = taken or max(claimed, 0)
        leaned = taken <= own_claim
        subject = _subject(done.one)
        return Change(
            done.result.commit, done.one, step.name, subject, taken, leaned, available - claims, moved
        )

    def _domains_in(self, writes: frozenset[Resource]) -> tuple[DomId, ...]:
        """Those that a step which declares `writes` may change; kept, as requests keep their declarations."""
        if len(self._written) >= STEPS_KEPT:
            self._written.clear()
        found = tuple(sorted(int(number) for kind, number in writes if kind == "domain"))
        self._written[writes] = found
        return found

    def _update(self, domain: Domain, was: Figures) -> tuple[tuple[Key, int], ...]:
        """One domain anew."""
        domid, delta = domain.domid, domain.tot_pages - was.tot_pages
        was.tot_pages += delta
        was.outstanding_pages = domain.outstanding_pages
        if domain.max_pages != was.max_pages or domain.incarnation != was.incarnation:
            was.max_pages, was.incarnation = domain.max_pages, domain.incarnation
            self._raise_lifetime((domid, was.incarnation), was.max_pages)
        if not delta:
            return ()
        if domid != DOMID_DOM0:
            self._held += delta
        return (((domid, was.incarnation), delta),)

    def _raise_lifetime(self, key: Key, max_pages: Pages) -> None:
        before = self.lifetime.get(key, 0)
        if max_pages > before:
            self.lifetime[key] = max_pages
            if key[0] != DOMID_DOM0:
                self._maxima += max_pages - before

    def _recount(self) -> None:
        """All domains anew: one came or went. One that went has given everything back before."""
        host = self._host
        self.figures = {
            domid: Figures(one.incarnation, one.tot_pages, one.max_pages, one.outstanding_pages)
            for domid, one in ((domid, host.domains[domid]) for domid in host.domids)
        }
        self._held = self._maxima = 0
        for domid, one in self.figures.items():
            key = (domid, one.incarnation)
            self.lifetime[key] = max(one.max_pages, self.lifetime.get(key, 0))
            if domid != DOMID_DOM0:
                self._held += one.tot_pages
                self._maxima += self.lifetime[key]

    def _mark(self, held: Pages) -> None:
        """`held`: by all domains, or claimed, now."""
        marks = self.marks
        domains = len(self.figures) - 1
        self.marks = Marks(
            max(marks.sum_of_maxes, self._maxima), max(marks.max_of_sums, held), max(marks.domains, domains)
        )


def _subject(one: UnderWay) -> DomId:
    domid: DomId = getattr(one.operation.request, "domid", -1)
    return one.operation.caller.domid if domid == DOMID_SELF else domid
