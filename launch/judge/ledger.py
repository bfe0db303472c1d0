"""What every step did to the sums: pages that moved, room that was taken, and the host's highest marks."""

from __future__ import annotations

from typing import NamedTuple

from hypervisor.core.claims import available_pages
from hypervisor.core.host import Host
from hypervisor.public.units import DOMID_DOM0, DOMID_SELF, Commit, DomId, Pages
from launch.check.states import Done, UnderWay
from launch.judge.cases import Key


class Figures(NamedTuple):
    """One domain's, pages."""

    incarnation: int
    tot_pages: Pages
    max_pages: Pages
    outstanding_pages: Pages


class Change(NamedTuple):
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
        self._held = self._maxima = 0
        self.marks = Marks(0, 0, 0)
        self._recount()

    def after(self, done: Done) -> Change | None:
        """What the step changed; None when it left all sums alone."""
        one, step, result = done.one, done.step, done.result
        host = self._host
        available, claims = available_pages(host), host.outstanding_claims
        subject = _subject(one)
        own = self.figures.get(subject)
        if len(host.domids) != len(self.figures):
            moved = self._recount()
        else:
            moved = tuple(
                change
                for kind, number in step.writes
                if kind == "domain" and number in host.domains
                for change in self._update(int(number))
            )
        gone, claimed = self._available - available, claims - self._claims
        if not (gone or claimed or moved):
            return None
        self._available, self._claims = available, claims
        self._mark()
        taken = max(gone, 0)
        if not taken and step.name == "claim":
            taken = max(claimed, 0)
        leaned = step.name == "take" and own is not None and taken <= own.outstanding_pages
        return Change(result.commit, one, step.name, subject, taken, leaned, available - claims, moved)

    def _update(self, domid: DomId) -> tuple[tuple[Key, int], ...]:
        """One domain anew."""
        domain = self._host.domains[domid]
        was = self.figures[domid]
        now = Figures(domain.incarnation, domain.tot_pages, domain.max_pages, domain.outstanding_pages)
        if now == was:
            return ()
        self.figures[domid] = now
        key = (domid, now.incarnation)
        self._raise_lifetime(key, now.max_pages)
        if domid != DOMID_DOM0:
            self._held += now.tot_pages - was.tot_pages
        return ((key, now.tot_pages - was.tot_pages),) if now.tot_pages != was.tot_pages else ()

    def _raise_lifetime(self, key: Key, max_pages: Pages) -> None:
        before = self.lifetime.get(key, 0)
        if max_pages > before:
            self.lifetime[key] = max_pages
            if key[0] != DOMID_DOM0:
                self._maxima += max_pages - before

    def _recount(self) -> tuple[tuple[Key, int], ...]:
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
        return ()

    def _mark(self) -> None:
        maxima, held, most = self.marks
        now = self._held + self._claims
        if self._maxima > maxima or now > held or len(self.figures) - 1 > most:
            self.marks = Marks(max(maxima, self._maxima), max(held, now), max(most, len(self.figures) - 1))


def _subject(one: UnderWay) -> DomId:
    domid: DomId = getattr(one.operation.request, "domid", -1)
    return one.operation.caller.domid if domid == DOMID_SELF else domid
