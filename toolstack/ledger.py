"""A ledger of builds that all toolstacks of a host can share: nodes in xenstore, one generation number (P10).

    /tool/claimlab/generation                 counts the decisions made
    /tool/claimlab/builds/DOMID-INCARNATION   pages that build is to end with

An entry counts until its domain has that much, or is gone; so what a killed toolstack leaves behind stops
counting by itself when its half-built domain is destroyed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hypervisor.public.domctl import DomainInfo
from hypervisor.public.units import Pages
from hypervisor.public.xenstore import (
    StoreDirectory,
    StoreNames,
    StoreRead,
    StoreRemove,
    StoreText,
    StoreTransaction,
)
from toolstack.interface import CountingWorld
from toolstack.limits import Key, key_of

GENERATION: Final = "/tool/claimlab/generation"
BUILDS: Final = "/tool/claimlab/builds"
MOST_READS: Final = 1000


@dataclass(frozen=True, slots=True)
class Ledger:
    """The ledger as read."""

    generation: str | None
    """As text, None before the first decision."""
    builds: dict[str, Pages]
    """By name of the entry."""

    def still_to_take(self, domains: Sequence[DomainInfo]) -> Pages:
        """Pages that builds on record have yet to take."""
        tot_pages = {_name(key_of(one)): one.tot_pages for one in domains}
        return sum(
            max(0, pages - tot_pages[name]) for name, pages in self.builds.items() if name in tot_pages
        )

    def entering(self, domain: Key, pages: Pages, domains: Sequence[DomainInfo]) -> StoreTransaction:
        """Enter a build, if nobody has decided anything since; entries of domains that are gone leave."""
        there = {_name(key_of(one)) for one in domains}
        gone = tuple((f"{BUILDS}/{name}", None) for name in self.builds if name not in there)
        new = str(int(self.generation or "0") + 1)
        entry = (f"{BUILDS}/{_name(domain)}", str(pages))
        return StoreTransaction(((GENERATION, self.generation),), ((GENERATION, new), entry, *gone))


async def read_ledger(world: CountingWorld) -> Ledger:
    """The generation first: whatever is decided after it makes the transaction fail."""
    generation = (await world.hypercall(StoreRead(GENERATION))).value
    listed = (await world.hypercall(StoreDirectory(BUILDS))).value
    names = listed.names if isinstance(listed, StoreNames) else ()
    builds: dict[str, Pages] = {}
    for start in range(0, len(names), MOST_READS):
        some = names[start : start + MOST_READS]
        replies = await world.multicall([StoreRead(f"{BUILDS}/{name}") for name in some])
        for name, reply in zip(some, replies, strict=True):
            if isinstance(reply.value, StoreText) and reply.value.value.isdigit():
                builds[name] = int(reply.value.value)
    return Ledger(generation.value if isinstance(generation, StoreText) else None, builds)


async def leave_ledger(world: CountingWorld, domain: Key) -> None:
    """The build is over. No decision: a reader who still sees the entry only counts too much."""
    await world.hypercall(StoreRemove(f"{BUILDS}/{_name(domain)}"))


def _name(key: Key) -> str:
    return f"{key[0]}-{key[1]}"
