"""The version table (1j): the same script on every preset, and where the answers part."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hypervisor.core.claims import allocation_refused
from hypervisor.public.domctl import Created, CreateDomain, DestroyDomain, MapForeign, MaxMem
from hypervisor.public.errors import Errno
from hypervisor.public.memory import ClaimPages, DecreaseReservation, IncreaseReservation, memf_exact_node
from tests.core.small_host import EVERY_RELEASE, SmallHost, singles

Script = Callable[[str], int]
EINVAL, EPERM = -Errno.EINVAL, -Errno.EPERM


def no_refcount_leans_on_a_claim(name: str) -> int:
    """C17, third arm: is a page outside tot_pages refused although its domain's claim would cover it?"""
    bench = SmallHost(name)
    guest = bench.create()
    bench.leave_free(5)
    assert bench.claim(guest, 5) == 0
    return int(allocation_refused(bench.host, bench.domain(guest.domid), 1, no_refcount=True))


def free_regrows_claim(name: str) -> int:
    """C21, C22: the claim after a page of the claimant went back."""
    bench = SmallHost(name)
    guest = bench.create()
    bench.grow(guest, 5)
    bench.claim(guest, 10)
    bench.ret(DecreaseReservation(guest.domid, singles(bench.frames_of(guest)[:1])))
    return bench.outstanding


def consumption_point(name: str) -> int:
    """C21, C23: the claim after an extent was taken and not yet assigned."""
    bench = SmallHost(name)
    guest = bench.create()
    bench.claim(guest, 8)
    running = bench.submit(IncreaseReservation(guest.domid, 1, 2))
    bench.step(running)
    seen = bench.outstanding
    bench.finish(running)
    return seen


def claim_on_dying_domain(name: str) -> int:
    """C9: the answer to a claim on a domain whose kill has begun."""
    bench = SmallHost(name)
    guest = bench.create()
    bench.grow(guest, 3)
    bench.ret(MapForeign(guest.domid, singles(bench.frames_of(guest)[:1])))
    bench.ret(DestroyDomain(guest.domid))
    return bench.claim(guest, 10)


def start_extent_check(name: str) -> int:
    """C2."""
    bench = SmallHost(name)
    return bench.ret(ClaimPages(bench.create().domid, 10, start_extent=1))


def colouring(name: str) -> int:
    """C1."""
    bench = SmallHost(name, llc_coloring=True)
    return bench.claim(bench.create(), 10)


def privilege(name: str) -> int:
    """A4."""
    bench = SmallHost(name)
    owner, stranger = bench.create(), bench.create()
    return bench.ret(IncreaseReservation(owner.domid, 1), stranger)


def node_of_a_guest(name: str) -> int:
    """A7."""
    bench = SmallHost(name, nodes=(512, 512))
    guest = bench.create()
    return bench.ret(IncreaseReservation(guest.domid, 1, 0, memf_exact_node(0)), guest)


def impossible_node(name: str) -> int:
    """A3: node 64 stops the control domain's call since 4.5; a hint of node 63 is no more than a hint."""
    bench = SmallHost(name)
    guest = bench.create()
    assert bench.ret(IncreaseReservation(guest.domid, 1, 0, 64 << 8)) == 1
    return bench.ret(IncreaseReservation(guest.domid, 1, 0, 65 << 8))


def wide_max_mem(name: str) -> int:
    """A15."""
    bench = SmallHost(name)
    guest = bench.create()
    bench.ret(MaxMem(guest.domid, (1 << 34) + 4))
    return bench.domain(guest.domid).max_pages


def long_destroy(name: str) -> int:
    """C31."""
    bench = SmallHost(name)
    guest = bench.create()
    bench.grow(guest, 1500)
    return bench.ret(DestroyDomain(guest.domid))


def domid_zero(name: str) -> int:
    """createdomain with domid 0: the id given, or the refusal."""
    bench = SmallHost(name)
    reply = bench.call(CreateDomain(0))
    return reply.value.domid if isinstance(reply.value, Created) else reply.ret


@pytest.mark.parametrize(
    ("script", "answers"),
    [
        pytest.param(no_refcount_leans_on_a_claim, (0, 1, 1, 1, 1), marks=pytest.mark.rule("C17", "C20")),
        pytest.param(free_regrows_claim, (6, 6, 6, 5, 5), marks=pytest.mark.rule("C21", "C22")),
        pytest.param(consumption_point, (8, 8, 8, 8, 4), marks=pytest.mark.rule("C21", "C23", "P1", "P2")),
        pytest.param(claim_on_dying_domain, (0, 0, 0, 0, EINVAL), marks=pytest.mark.rule("C9", "z02")),
        pytest.param(start_extent_check, (0, EINVAL, EINVAL, EINVAL, EINVAL), marks=pytest.mark.rule("C2")),
        pytest.param(colouring, (0, 0, 0, 0, -Errno.EOPNOTSUPP), marks=pytest.mark.rule("C1")),
        pytest.param(privilege, (EPERM, 0, 0, 0, 0), marks=pytest.mark.rule("A4")),
        pytest.param(node_of_a_guest, (1, 0, 0, 0, 0), marks=pytest.mark.rule("A7")),
        pytest.param(impossible_node, (1, 0, 0, 0, 0), marks=pytest.mark.rule("A3", "A7")),
        pytest.param(wide_max_mem, (1, *(0xFFFF_FFFF,) * 4), marks=pytest.mark.rule("A15")),
        pytest.param(long_destroy, (-Errno.EAGAIN, 0, 0, 0, 0), marks=pytest.mark.rule("C31")),
        pytest.param(domid_zero, (1, 1, 1, 1, -Errno.EEXIST), marks=pytest.mark.rule("A31")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_releases_part_where_the_table_says(script: Script, answers: tuple[int, ...]) -> None:
    """The same script answers as the version table tells for 4.3, 4.12, 4.17, 4.21 and 4.22."""
    assert tuple(script(name) for name in EVERY_RELEASE[:5]) == answers
