"""Swap and OOM arithmetic of one guest, without clock or hypervisor."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from guests.kernel.memory import GuestMemory
from guests.kernel.programs import Programs
from guests.report import Counters
from guests.workloads import Constant

PAGES = st.integers(0, 400)


def memory(capacity: int, swap: int) -> tuple[GuestMemory, Counters]:
    counters = Counters()
    return GuestMemory(capacity, swap, counters, 0.0), counters


def test_demand_above_memory_goes_to_swap_and_comes_back() -> None:
    """100 pages of memory and a demand of 130 put 30 in swap; 20 more pages bring 20 back."""
    guest, counters = memory(100, 50)
    guest.want(130, 1.0)
    guest.swap_unmet(1.0)
    assert (guest.resident, guest.swapped, guest.unmet) == (100, 30, 0)
    guest.receive(20, 4.0)
    assert (guest.resident, guest.swapped) == (120, 10)
    guest.receive(20, 6.0)
    guest.account(9.0)
    assert (counters.swapped_out, counters.swapped_in, counters.highest_swapped) == (30, 30, 30)
    assert counters.stalled_s == 5.0


def test_what_swap_does_not_hold_stays_unmet() -> None:
    """A demand of 200 on 100 pages and 50 of swap leaves 50 unmet, for the OOM killer."""
    guest, _ = memory(100, 50)
    guest.want(200, 0.0)
    guest.swap_unmet(0.0)
    assert (guest.swapped, guest.unmet) == (50, 50)


def test_falling_demand_drops_swap_first_and_reads_nothing_back() -> None:
    """Pages that a program lets go leave swap without being swapped in."""
    guest, counters = memory(100, 50)
    guest.want(140, 0.0)
    guest.swap_unmet(0.0)
    guest.want(90, 1.0)
    assert (guest.resident, guest.swapped, counters.swapped_in) == (90, 0, 0)


def test_the_balloon_swaps_programs_out_until_swap_is_full() -> None:
    """Asked for 80 of 100 pages, 60 of them in use, a guest with 25 of swap can give 65."""
    guest, counters = memory(100, 25)
    guest.want(60, 0.0)
    assert guest.give(80, 0.0) == 65
    assert (guest.capacity, guest.resident, guest.swapped, counters.swapped_out) == (35, 35, 25, 25)


def test_waiting_for_the_balloon_is_not_stalling() -> None:
    """Time with unmet demand and nothing in swap counts as waited, time with pages in swap as stalled."""
    guest, counters = memory(100, 50)
    guest.want(120, 0.0)
    guest.swap_unmet(3.0)
    guest.account(10.0)
    assert (counters.waited_s, counters.stalled_s) == (3.0, 7.0)


def test_a_killed_process_leaves_demand_until_it_starts_again() -> None:
    """Each of 4 processes holds a quarter of demand; a killed one is back after its restart time."""
    programs = Programs(Constant(1000), 4, 60.0, start=10.0)
    assert programs.demand(10.0) == 1000
    assert programs.kill(20.0) and programs.kill(30.0)
    assert programs.demand(30.0) == 500
    assert (programs.demand(80.0), programs.demand(90.0)) == (750, 1000)


def test_nobody_is_left_to_kill() -> None:
    """The killer answers False when every process is dead, and demand is 0."""
    programs = Programs(Constant(1000), 2, 60.0, start=0.0)
    assert [programs.kill(0.0) for _ in range(3)] == [True, True, False]
    assert programs.demand(1.0) == 0


class MemoryMachine(RuleBasedStateMachine):
    """Any order of demand, balloon and swap."""

    def __init__(self) -> None:
        super().__init__()
        self.memory, self.counters = memory(200, 100)
        self.now = 0.0
        self.given = 0

    @rule(pages=PAGES)
    def want(self, pages: int) -> None:
        self.now += 1.0
        self.memory.want(pages, self.now)

    @rule(pages=PAGES)
    def give(self, pages: int) -> None:
        given = self.memory.give(pages, self.now)
        assert given <= pages
        self.given += given

    @rule(share=st.floats(0, 1))
    def receive(self, share: float) -> None:
        pages = int(self.given * share)
        self.given -= pages
        self.memory.receive(pages, self.now)

    @rule()
    def swap_unmet(self) -> None:
        self.memory.swap_unmet(self.now)

    @invariant()
    def books_balance(self) -> None:
        """Every wanted page is resident, swapped or unmet; nothing exceeds its room."""
        guest = self.memory
        assert guest.resident + guest.swapped + guest.unmet == guest.wanted
        assert 0 <= guest.resident <= guest.capacity == 200 - self.given
        assert 0 <= guest.swapped <= 100
        assert guest.free == 0 or not (guest.swapped or guest.unmet)
        assert self.counters.swapped_out - self.counters.swapped_in >= guest.swapped


TestMemoryBooks = MemoryMachine.TestCase
