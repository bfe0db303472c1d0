"""What running domains were refused, whose action refused it, and how the pain is spread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from msgspec.structs import replace

from hypervisor.core.host import Host
from hypervisor.core.sources import Reason, Refusal, Source
from hypervisor.public.domctl import MaxMem
from hypervisor.public.memory import IncreaseReservation, PopulatePhysmap
from hypervisor.public.requests import Reply
from hypervisor.public.units import DOMID_DOM0, Commit, Pages
from launch.check.states import Done, UnderWay
from launch.judge.cases import Key
from launch.judge.deficit import Deficits
from launch.judge.ledger import Ledger
from launch.judge.verdict import Cause, Refused

_CAUSES: Final[Mapping[Reason, Cause]] = MappingProxyType(
    {
        Reason.CLAIM: Cause.CLAIM,
        Reason.EMPTY: Cause.EMPTY,
        Reason.FRAGMENTATION: Cause.FRAGMENTATION,
        Reason.FROZEN: Cause.FREEZE,
        Reason.MEDIATOR: Cause.MEDIATOR,
        Reason.DYING: Cause.DYING,
    }
)
BUILDING: Final = (Source.BUILD, Source.STRUCTURES)
"""Allocations that a toolstack makes for a domain: its launch fails, no guest suffers."""


class Pain:
    """Told of every step that refused memory, and of every max_mem."""

    def __init__(self, host: Host, ledger: Ledger, launches: Mapping[Key, int]) -> None:
        """`launches`: the orders that built or were to build domains, for naming them."""
        self._host = host
        self._ledger = ledger
        self._launches = launches
        self._limits: dict[int, str] = {}
        """Who set max_pages of each domain last."""
        self._refused: dict[Key, dict[Cause, Refused]] = {}
        self.deficits = Deficits()
        self.unfinished: dict[int, tuple[Key, Cause, Pages, Pages]] = {}
        """Operations that were refused an extent and have not answered yet."""

    def limited(self, done: Done) -> None:
        """Remember who lowers or raises a limit."""
        request = done.one.operation.request
        if isinstance(request, MaxMem):
            caller = done.one.operation.caller.incarnation
            text = f"max_mem {request.max_memkb // 4:,} pages, operation {done.one.operation.number}"
            self._limits[request.domid] = f"{text}, commit {done.result.commit}, by toolstack {caller:x}"

    def refused(self, one: UnderWay, refusal: Refusal, commit: Commit) -> tuple[Key, Cause, Pages] | None:
        """A step refused memory: to whom, for what cause, and what was free. None for a domain not there."""
        figures = self._ledger.figures.get(refusal.domid)
        if figures is None:
            return None
        key = (refusal.domid, figures.incarnation)
        cause = self._cause(refusal, key, figures.max_pages)
        free = self._free(refusal)
        if refusal.source not in BUILDING and cause is not Cause.DYING:
            self._begin(key, cause, one, commit, free)
            self._add(key, cause, refusal.pages, free if free >= refusal.pages else 0, 1)
            self.unfinished[one.operation.number] = (key, cause, refusal.pages, free)
        return key, cause, free

    def finished(self, one: UnderWay, reply: Reply) -> None:
        """A populate stops at the first extent it cannot have, so the rest is not got either (A3)."""
        key, cause, counted, free = self.unfinished.pop(one.operation.number)
        request = one.operation.request
        if not isinstance(request, PopulatePhysmap | IncreaseReservation):
            return
        refused = (request.nr_extents - max(reply.ret, 0)) << request.extent_order
        self._add(key, cause, refused - counted, max(free - counted, 0), 0)
        self.deficits.refused(key, cause, refused)

    def _free(self, refusal: Refusal) -> Pages:
        """An extent that assign refused has left the free lists already, and goes back."""
        assigned = refusal.reason is Reason.MAX_PAGES and refusal.source is not Source.TMEM_PERSISTENT
        return self._host.heap.total_avail + (refusal.pages if assigned else 0)

    def _cause(self, refusal: Refusal, key: Key, max_pages: Pages) -> Cause:
        if refusal.reason is not Reason.MAX_PAGES:
            return _CAUSES[refusal.reason]
        return Cause.CLAMP if max_pages < self._ledger.lifetime[key] else Cause.OWN_MAXIMUM

    def _begin(self, key: Key, cause: Cause, one: UnderWay, commit: Commit, free: Pages) -> None:
        """The first of its kind is the witness; one that met free memory, rather than one that did not."""
        causes = self._refused.setdefault(key, {})
        was = causes.get(cause)
        if was is not None and (was.times_while_free or not free):
            return
        counts = (0, 0, 0, 0) if was is None else (was.times, was.pages, 0, 0)
        number = one.operation.number
        causes[cause] = Refused(cause, *counts, number, commit, free, self._by(cause, key))

    def _add(self, key: Key, cause: Cause, pages: Pages, free: Pages, times: int) -> None:
        """`pages` more not got, while `free` could have been had."""
        was = self._refused[key][cause]
        self._refused[key][cause] = replace(
            was,
            times=was.times + times,
            pages=was.pages + pages,
            times_while_free=was.times_while_free + (times if free else 0),
            pages_while_free=was.pages_while_free + min(pages, free),
        )

    def _by(self, cause: Cause, key: Key) -> str:
        """Whose action it was."""
        if cause is Cause.CLAIM:
            return self._claims_of_others(key)
        if cause in (Cause.CLAMP, Cause.OWN_MAXIMUM):
            return self._limits.get(key[0], "")
        return ""

    def _claims_of_others(self, key: Key) -> str:
        claims = [
            (figures.outstanding_pages, domid, figures.incarnation)
            for domid, figures in self._ledger.figures.items()
            if figures.outstanding_pages and domid != key[0]
        ]
        if not claims:
            return f"claims of no domain: {self._host.outstanding_claims:,} pages"
        pages, domid, incarnation = max(claims)
        order = self._launches.get((domid, incarnation))
        launch = "" if order is None else f" (launch {order})"
        more = f", and {len(claims) - 1} more" if len(claims) > 1 else ""
        return f"claim of domain {domid}{launch}: {pages:,} pages{more}"

    def of(self, key: Key) -> tuple[Refused, ...]:
        """What that domain was refused, worst cause first."""
        deficits = self.deficits.of(key)
        causes = [
            replace(one, deficit=deficits.get(one.cause, 0)) for one in self._refused.get(key, {}).values()
        ]
        return tuple(sorted(causes, key=lambda one: (-one.pages, one.cause)))

    def sufferers(self) -> Sequence[Key]:
        """Domains that were refused anything; dom0 is no guest."""
        return sorted(key for key in self._refused if key[0] != DOMID_DOM0)


def gini(values: Iterable[float]) -> float | None:
    """Concentration: 0 when all suffer alike, towards 1 when one of many suffers all; None when nobody does.

    The Gini coefficient, mean absolute difference over twice the mean, of the whole population (Gini 1912;
    no small-sample correction, so one of n suffering all gives 1 - 1/n).
    """
    ordered = sorted(values)
    total = sum(ordered)
    count = len(ordered)
    if not total:
        return None
    weighted = sum(rank * value for rank, value in enumerate(ordered, start=1))
    return 2 * weighted / (count * total) - (count + 1) / count
