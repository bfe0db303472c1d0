"""The checker's cheap look on a host with tmem."""

from __future__ import annotations

from hypervisor.core.machine import run_alone
from hypervisor.public.requests import Request
from hypervisor.public.tmem import (
    TMEM_EPHEMERAL,
    TMEM_PERSISTENT,
    TmemFlushPage,
    TmemGetPage,
    TmemNewPool,
    TmemPutPage,
)
from launch.check.books import Books
from tests.core.small_host import CONTROL, SmallHost


def looked_at(small: SmallHost, books: Books, request: Request) -> list[str]:
    """The invariants that a request's steps broke."""
    operation = small.machine.submit(CONTROL, request)
    broken: list[str] = []
    while operation.pending is not None:
        step = operation.pending
        small.machine.step(operation)
        broken += [one.invariant for one in books.after(step)]
    return broken


def test_pages_in_tmem_do_not_cost_the_checker_a_full_look() -> None:
    """Puts, gets and flushes in both kinds of pool balance in the cheap look alone."""
    small = SmallHost("4.12", tmem=True)
    for flags in (TMEM_EPHEMERAL, TMEM_PERSISTENT):
        run_alone(small.machine, CONTROL, TmemNewPool(flags))
    books = Books(small.host, tuple)
    for pool in (0, 1):
        for number in range(20):
            assert not looked_at(small, books, TmemPutPage(pool, (0, 0, number), 0, 0, 7))
        for number in range(10):
            assert not looked_at(small, books, TmemGetPage(pool, (0, 0, number), 0, 0))
            assert not looked_at(small, books, TmemFlushPage(pool, (0, 0, number), 0))
    assert small.host.tmem is not None and small.host.tmem.freeable
    assert books.full_looks == 0


def test_a_page_that_tmem_loses_is_found_at_once() -> None:
    """A page that leaves the heap and is counted nowhere breaks I1 in the very next look."""
    small = SmallHost("4.12", tmem=True)
    run_alone(small.machine, CONTROL, TmemNewPool(TMEM_EPHEMERAL))
    books = Books(small.host, tuple)
    assert not looked_at(small, books, TmemPutPage(0, (0, 0, 1), 0, 0, 7))
    assert small.host.heap.take(0, (0,)) is not None
    assert "I1" in looked_at(small, books, TmemGetPage(0, (0, 0, 2), 0, 0))
    assert books.full_looks == 1
