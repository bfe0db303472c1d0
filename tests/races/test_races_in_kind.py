"""The recorded races of real Xen (race.jsonl, race2.jsonl), in kind, between real processes.

No racer is faster than another for sure, and any may be held up for any time. So those that have to keep up
wait for each other by what the hypervisor tells, and whoever makes room for an accident goes on until the
other one has seen it.
"""

from __future__ import annotations

from typing import Any

import pytest

from hypervisor.core.host import HostConfig
from hypervisor.public.domctl import (
    Created,
    CreateDomain,
    DomainInfo,
    Frames,
    GetDomainInfo,
    MaxMem,
    PhysicalInfo,
    Physinfo,
)
from hypervisor.public.errors import Errno
from hypervisor.public.memory import ClaimPages, DecreaseReservation, PopulatePhysmap
from hypervisor.public.units import UINT_MAX, Pages
from hypervisor.public.world import World
from hypervisor.public.xenstore import StoreDirectory, StoreNames, StoreRead, StoreWrite
from tests.real_host import Racers, real_host

HOST = HostConfig((32_768,), dom0_pages=4096, xen_pages=1024)
CHUNK: Pages = 256
"""Pages in a call, as in the recordings."""
LARGE = HostConfig((1 << 20,), dom0_pages=4096, xen_pages=1024)
"""It takes ten seconds to fill: time enough for an accident."""
ABSURD: Pages = 2_000_000
"""More than a host has (race2)."""
TRIES = 16
"""In one multicall, so that one after the other falls between the steps of whatever is under way."""


async def new_domain(world: World) -> int:
    """A PV domain without a limit."""
    created = (await world.hypercall(CreateDomain())).value
    assert isinstance(created, Created)
    await world.hypercall(MaxMem(created.domid, 4 * UINT_MAX))
    return created.domid


async def two_domains(world: World) -> tuple[int, int]:
    """Two of them."""
    return await new_domain(world), await new_domain(world)


async def unclaimed(world: World) -> int:
    """free - outstanding, as one physinfo tells it."""
    host = (await world.hypercall(Physinfo())).value
    assert isinstance(host, PhysicalInfo)
    return host.free_pages - host.outstanding_pages


async def tot_pages(world: World, domid: int) -> Pages:
    """As getdomaininfo tells it."""
    info = (await world.hypercall(GetDomainInfo(domid))).value
    assert isinstance(info, DomainInfo)
    return info.tot_pages


async def is_written(world: World, path: str) -> bool:
    """Whether another racer has written that."""
    return (await world.hypercall(StoreRead(path))).ret == 0


async def fill(world: World, domid: int, pages: Pages, rival: int | None = None) -> Pages:
    """Populate in calls of CHUNK until done or short; pages got.

    With a rival never more than a call ahead of it while there is memory.
    """
    done = 0
    while done < pages:
        if rival is not None:
            while await tot_pages(world, rival) < done and await unclaimed(world) > 0:
                pass
        wanted = min(CHUNK, pages - done)
        got = (await world.hypercall(PopulatePhysmap(domid, ((done, wanted),)))).ret
        done += got
        if got < wanted:
            break
    return done


async def look_then_populate(world: World, domid: int, rival: int, pages: Pages) -> tuple[bool, Pages]:
    """naive: (admitted, pages got). Nobody populates before both have looked, however slow the machine."""
    admitted = await unclaimed(world) >= pages
    await world.hypercall(StoreWrite(f"/looked/{domid}", ""))
    while (await world.hypercall(StoreDirectory("/looked"))).value != StoreNames(("1", "2")):
        pass
    return admitted, await fill(world, domid, pages, rival) if admitted else 0


async def claim_then_populate(world: World, domid: int, pages: Pages) -> tuple[bool, Pages]:
    """P1: (admitted, pages got)."""
    ret = (await world.hypercall(ClaimPages(domid, pages))).ret
    assert ret in (0, -Errno.ENOMEM)
    if ret:
        return False, 0
    done = await fill(world, domid, pages)
    await world.hypercall(ClaimPages(domid, 0))
    return True, done


async def sample_then_setmaxmem(world: World, domid: int, samples: int) -> bool:
    """Clamp a growing domain to what was sampled, until it was above its max afterwards; whether it was."""
    above = False
    while samples and not above:
        samples -= 1
        await world.hypercall(MaxMem(domid, 4 * await tot_pages(world, domid)))
        now: Any = (await world.hypercall(GetDomainInfo(domid))).value
        above = now.tot_pages > now.max_pages
        await world.hypercall(MaxMem(domid, 4 * UINT_MAX))
    await world.hypercall(StoreWrite("/seen", ""))
    return above


async def grow_and_shrink(world: World, domid: int, pages: Pages) -> Pages:
    """A guest that wants to grow, and gives back what it got, until the other has seen enough; pages got."""
    grown = 0
    while not await is_written(world, "/seen"):
        reply = await world.hypercall(PopulatePhysmap(domid, ((0, pages),)))
        grown += reply.ret
        if reply.ret:
            assert isinstance(reply.value, Frames)
            assert (await world.hypercall(DecreaseReservation(domid, reply.value.extents))).ret > 0
    return grown


async def claim_until_admitted(world: World, domid: int, pages: Pages, victim: int, full: Pages) -> bool:
    """Try the claim, dropping it at once, until it is admitted or the victim is full; whether it was."""
    admitted = False
    while not admitted and await tot_pages(world, victim) < full:
        replies = await world.multicall((ClaimPages(domid, pages), ClaimPages(domid, 0)) * TRIES)
        admitted = any(reply.ret == 0 for reply in replies[::2])
    await world.hypercall(StoreWrite("/seen", ""))
    return admitted


async def fill_until_seen(world: World, domid: int, pages: Pages) -> bool:
    """As `fill`, until the other has seen enough; whether every extent asked for was there."""
    for done in range(0, pages, CHUNK):
        wanted = min(CHUNK, pages - done)
        if (await world.hypercall(PopulatePhysmap(domid, ((done, wanted),)))).ret < wanted:
            return False
        if await is_written(world, "/seen"):
            break
    return True


@pytest.mark.rule("W1", "H13")
@pytest.mark.parametrize("release", ["4.17", "4.21", "4.22"])
def test_look_then_populate_leaves_both_short(release: str) -> None:
    """Two builders that each see enough both begin, and neither gets all it wants."""
    with real_host(release, HOST) as host:
        first, second = host.control(two_domains)
        wanted = host.control(unclaimed) * 2 // 3
        answers = Racers(host).race(
            (look_then_populate, (first, second, wanted)), (look_then_populate, (second, first, wanted))
        )
        assert [admitted for admitted, _ in answers] == [True, True]
        assert all(done < wanted for _, done in answers)


@pytest.mark.rule("C15", "C16", "H13")
@pytest.mark.parametrize("release", ["4.17", "4.21", "4.22"])
def test_claim_first_lets_exactly_one_finish(release: str) -> None:
    """Of two builders that claim first one completes, the other is refused before it took a page."""
    with real_host(release, HOST) as host:
        first, second = host.control(two_domains)
        wanted = host.control(unclaimed) * 2 // 3
        answers = Racers(host).race(
            (claim_then_populate, (first, wanted)), (claim_then_populate, (second, wanted))
        )
        assert sorted(answers) == [(False, 0), (True, wanted)]


@pytest.mark.rule("A15", "C36", "D3")
@pytest.mark.parametrize("release", ["4.17", "4.22"])
def test_sample_then_setmaxmem_leaves_domains_above_their_max(release: str) -> None:
    """A domain that grows between the sample and the clamp ends above its max, without an error anywhere."""
    with real_host(release, HOST) as host:
        domid, _ = host.control(two_domains)
        above, grown = Racers(host).race(
            (sample_then_setmaxmem, (domid, 10_000)), (grow_and_shrink, (domid, 512))
        )
        assert grown > 0
        assert above


@pytest.mark.rule("C14", "C27")
@pytest.mark.parametrize(("release", "admitted"), [("4.17", True), ("4.21", True), ("4.22", False)])
@pytest.mark.parametrize("pages", [1, ABSURD])
def test_absurd_claim_during_a_claimed_populate(release: str, admitted: bool, pages: Pages) -> None:
    """While a claim on all memory is filled, another domain's claim of any size is admitted before 4.22."""
    with real_host(release, LARGE if admitted else HOST) as host:
        owner, other = host.control(two_domains)
        everything = host.control(unclaimed)
        assert host.control(claim_all, owner, everything) == 0
        covered, got_in = Racers(host).race(
            (fill_until_seen, (owner, everything)), (claim_until_admitted, (other, pages, owner, everything))
        )
        assert covered, "the owner's own claim covers each extent"
        assert got_in == admitted


async def claim_all(world: World, domid: int, pages: Pages) -> int:
    """Claim everything there is."""
    return (await world.hypercall(ClaimPages(domid, pages))).ret


async def observe(world: World, everything: Pages, claim: Pages) -> list[Pages]:
    """By how much free - outstanding was ever short, the claims made so far taken off; sorted."""
    short: set[Pages] = set()
    looks = 0
    while len(short) < 2 and not await is_written(world, "/done"):
        for reply in await world.multicall((Physinfo(),) * TRIES):
            assert isinstance(reply.value, PhysicalInfo)
            short.add((everything - reply.value.free_pages + reply.value.outstanding_pages) % claim)
        looks += 1
        await world.hypercall(StoreWrite("/looks", str(looks)))
    await world.hypercall(StoreWrite("/seen", ""))
    return sorted(short)


async def looked_again(world: World, before: object) -> object:
    """Wait until the observer has looked again, or has seen enough; what it says of its looks."""
    while (looks := (await world.hypercall(StoreRead("/looks"))).value) == before:
        if await is_written(world, "/seen"):
            break
    return looks


async def draw_down(world: World, domid: int, order: int, extents: int, rounds: int) -> int:
    """Claim and fill the claim in one call, until the observer has seen enough; rounds done.

    No round without a look since the last one: an observer who is held up misses none but that.
    """
    claim = extents << order
    looks: object = None
    for number in range(rounds):
        looks = await looked_again(world, looks)
        assert await claim_all(world, domid, (number + 1) * claim) == 0
        call = PopulatePhysmap(domid, ((number * claim, extents),), order)
        assert (await world.hypercall(call)).ret == extents
        if await is_written(world, "/seen"):
            return number + 1
    await world.hypercall(StoreWrite("/done", ""))
    return rounds


@pytest.mark.rule("C27")
@pytest.mark.parametrize(("release", "window"), [("4.17", True), ("4.21", True), ("4.22", False)])
@pytest.mark.parametrize(("order", "extents"), [(0, 500), (9, 20)])
def test_observer_sees_one_extent_too_little(release: str, window: bool, order: int, extents: int) -> None:
    """While a claim is drawn down, a second process sees free - outstanding short by exactly one extent."""
    rounds = 400 if window else 40
    size = (extents << order) * rounds + 16_384
    with real_host(release, HostConfig((size,), dom0_pages=4096, xen_pages=1024)) as host:
        owner, _ = host.control(two_domains)
        everything = host.control(unclaimed)
        _, short = Racers(host).race(
            (draw_down, (owner, order, extents, rounds)), (observe, (everything, extents << order))
        )
        assert short == ([0, 1 << order] if window else [0])
