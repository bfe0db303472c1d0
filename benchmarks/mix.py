"""What the guests of every row ask for: kinds and shares recorded from a run (mix.json, see record.py).

A cycle leaves its domain as it was, so it can be repeated for ever: what is populated is given back later in
the same cycle.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from benchmarks.hosts import GUEST_PAGES, Identity
from hypervisor.public.memory import (
    CurrentReservation,
    DecreaseReservation,
    MaximumGpfn,
    MaximumRamPage,
    MaximumReservation,
    PopulatePhysmap,
)
from hypervisor.public.requests import Request
from hypervisor.public.tmem import TMEM_EPHEMERAL, TmemGetPage, TmemNewPool, TmemPutPage
from hypervisor.public.units import DOMID_SELF
from hypervisor.public.xenstore import StoreDirectory, StoreRead, StoreWrite, domain_path, memory_target_path

MIX_FILE: Final = Path(__file__).with_name("mix.json")
CYCLE: Final = 1024
"""Requests after which a domain is as before."""
BALLOON: Final = frozenset({"PopulatePhysmap", "DecreaseReservation"})
"""Kinds of which each makes up for the other."""
PUT, GET = "TmemPutPage", "TmemGetPage"
"""A get that hits takes back what a put stored (the pool is ephemeral); the gets beyond the puts miss."""
FIRST_REQUEST: Final = TmemNewPool(TMEM_EPHEMERAL)
"""What every guest asks before its first cycle; its pool has number 0."""
NO_OBJECT: Final = (0, 0, 1)

SIMPLE: Final = MappingProxyType[str, Callable[[int], Request]](
    {
        GET: lambda _: TmemGetPage(0, NO_OBJECT, 0, 0),
        "CurrentReservation": lambda _: CurrentReservation(DOMID_SELF),
        "MaximumReservation": lambda _: MaximumReservation(DOMID_SELF),
        "MaximumGpfn": lambda _: MaximumGpfn(DOMID_SELF),
        "MaximumRamPage": lambda _: MaximumRamPage(),
        "StoreRead": lambda domid: StoreRead(memory_target_path(domid)),
        "StoreWrite": lambda domid: StoreWrite(f"{domain_path(domid)}/data/benchmark", "1"),
        "StoreDirectory": lambda domid: StoreDirectory(domain_path(domid)),
    }
)
"""Requests that leave nothing to be made up for, by the caller's domid."""


@dataclass(frozen=True)
class Kind:
    """One line of the mix."""

    request: str
    order: int
    extents: int
    share: float


@dataclass(frozen=True)
class Mix:
    """Where it was recorded, and what guests asked for."""

    source: str
    kinds: tuple[Kind, ...]

    @property
    def left_out(self) -> float:
        """Share of the recorded requests that no cycle can repeat."""
        known = (*BALLOON, *SIMPLE, PUT)
        return sum(one.share for one in self.kinds if one.request not in known)

    def one_page_each(self) -> Mix:
        """The same kinds and shares with a single page in every request: the price of a hypercall as such."""
        kinds = tuple(Kind(one.request, 0, 1, one.share) for one in self.kinds)
        return Mix(f"{self.source}, one page each", kinds)

    def cycle(self, identity: Identity, seed: int = 1) -> list[Request]:
        """About `CYCLE` requests of one domain in the mix's proportions, in a random order."""
        rng = random.Random(seed)
        counts = {one: round(one.share * CYCLE / (1 - self.left_out)) for one in self.kinds}
        hits = sum(count for one, count in counts.items() if one.request == PUT)
        slots: list[Request | tuple[int, Kind]] = []
        for one, count in counts.items():
            if one.request in SIMPLE:
                hits = sum(
                    count for other, count in counts.items() if one.request == GET and other.request == PUT
                )
                slots += [SIMPLE[one.request](identity.domid)] * max(count - hits, 0)
            elif one.request == PUT:
                slots += [(number, one) for number in range(count)] * 2
        shapes = [one for one in self.kinds if one.request in BALLOON]
        for number in range(sum(counts[one] for one in shapes) // 2):
            slots += [(number, rng.choices(shapes, [one.share for one in shapes])[0])] * 2
        rng.shuffle(slots)
        return list(paired_requests(slots, max((one.extents << one.order for one in shapes), default=0)))

    def calls(self, identity: Identity, size: int = 1) -> list[tuple[Request, ...]]:
        """A cycle as Calls of `size` requests each: so many cycles that they fill whole Calls."""
        once = self.cycle(identity)
        requests = once * (size // math.gcd(size, len(once)))
        return [tuple(requests[first : first + size]) for first in range(0, len(requests), size)]


def paired_requests(slots: Sequence[Request | tuple[int, Kind]], longest: int) -> Iterator[Request]:
    """The first of a pair takes, the second gives back: `longest` gfns, or an object, of the pair's own."""
    begun: set[tuple[int, bool]] = set()
    for slot in slots:
        if not isinstance(slot, tuple):
            yield slot
            continue
        number, kind = slot
        first = GUEST_PAGES + number * longest
        extents = ((first >> kind.order << kind.order, kind.extents),)
        again = (number, kind.request == PUT) in begun
        begun.add((number, kind.request == PUT))
        if kind.request == PUT:
            oid = (0, 0, 2 + number)
            yield TmemGetPage(0, oid, 0, 0) if again else TmemPutPage(0, oid, 0, 0, 7)
            continue
        request = DecreaseReservation if again else PopulatePhysmap
        yield request(DOMID_SELF, extents, kind.order)


def recorded() -> Mix:
    """The mix in mix.json."""
    content = json.loads(MIX_FILE.read_text(encoding="utf-8"))
    return Mix(content["source"], tuple(Kind(**one) for one in content["kinds"]))
