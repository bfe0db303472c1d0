"""The builder's plans against vectors written from the sources they follow: sizes, batches, fallbacks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolstack.builder.hvm import hvm_4_3, hvm_4_17, populated_by_hvm
from toolstack.builder.plan import Attempt, ClaimHere, Plan
from toolstack.builder.pv import pv_4_3, pv_4_17

MIB = 256
GIB = 1024 * MIB
Step = Attempt | ClaimHere


def carry_out(plan: Plan, answer: Callable[[Attempt], int] = lambda attempt: attempt.count) -> list[Step]:
    """Every step of the plan when each attempt gets as many extents as `answer` says."""
    steps: list[Step] = []
    sent: int | None = None
    while True:
        try:
            step = next(plan) if sent is None else plan.send(sent)
        except StopIteration:
            return steps
        steps.append(step)
        sent = answer(step) if isinstance(step, Attempt) else 0


def shape(steps: list[Step]) -> list[tuple[int, int, int]]:
    """(gfn, count, order) of the attempts."""
    return [(one.gfn, one.count, one.order) for one in steps if isinstance(one, Attempt)]


def no_superpages(attempt: Attempt) -> int:
    return 0 if attempt.order else attempt.count


@pytest.mark.rule("L6")
def test_pv_4_17_builds_128_mib_in_one_call_of_64_superpages() -> None:
    """As recorded with xl 4.17: claim 32768, then 64 x order 9 in one call, nothing else."""
    assert carry_out(pv_4_17(128 * MIB)) == [ClaimHere(32768), Attempt(0, 64, 9, exact=False)]


@pytest.mark.rule("L6")
def test_pv_4_17_asks_for_no_more_than_1_gib_in_one_call() -> None:
    """2.5 GiB and 3 pages: batches of 512, 512 and 256 superpages, then the odd pages exactly."""
    assert carry_out(pv_4_17(2 * GIB + 512 * MIB + 3))[1:] == [
        Attempt(0, 512, 9, exact=False),
        Attempt(GIB, 512, 9, exact=False),
        Attempt(2 * GIB, 256, 9, exact=False),
        Attempt(2 * GIB + 512 * MIB, 3, 0, exact=True),
    ]


@pytest.mark.rule("L6")
def test_pv_4_17_goes_on_behind_a_short_batch() -> None:
    """A short batch is no error: the next one begins where it ended, single pages fill the rest."""
    answers = iter([100, 512, 2 * GIB])
    steps = carry_out(pv_4_17(2 * GIB), lambda attempt: min(next(answers), attempt.count))
    got = 612 * 512
    assert shape(steps) == [(0, 512, 9), (51200, 512, 9), (got, 2 * GIB - got, 0)]


@pytest.mark.rule("L4")
def test_pv_4_3_knows_single_pages_only() -> None:
    """Up to 1,048,576 order-0 extents a call, each exact; the claim is the total, made first."""
    assert carry_out(pv_4_3(9 * GIB)) == [
        ClaimHere(9 * GIB),
        Attempt(0, 1 << 20, 0, exact=True),
        Attempt(1 << 20, 1 << 20, 0, exact=True),
        Attempt(2 << 20, GIB, 0, exact=True),
    ]


@pytest.mark.rule("L7")
def test_hvm_4_17_leaves_out_the_vga_hole_and_takes_four_superpages_a_call() -> None:
    """128 MiB: claim less 0x20, 0xa0 low pages, singles to the first 2-MiB boundary, then 8 MiB a call."""
    steps = carry_out(hvm_4_17(128 * MIB))
    assert steps[:3] == [
        ClaimHere(32768 - 0x20),
        Attempt(0, 0xA0, 0, exact=True),
        Attempt(0xC0, 512 - 0xC0, 0, exact=True),
    ]
    assert shape(steps)[2:] == [
        *((512 + 2048 * call, 4, 9) for call in range(15)),
        (512 + 2048 * 15, 3, 9),
    ]


@pytest.mark.rule("L7")
def test_hvm_4_17_takes_1_gib_extents_where_aligned_and_clear_of_the_mmio_hole() -> None:
    """5 GiB: 1-GiB extents at 1, 2 and from 4 GiB on; none in the gigabyte that the hole cuts."""
    steps = shape(carry_out(hvm_4_17(5 * GIB)))
    assert [gfn for gfn, _, order in steps if order == 18] == [GIB, 2 * GIB, 4 * GIB]
    touched = [(gfn, gfn + (count << order)) for gfn, count, order in steps]
    assert not any(start < 0x100000 and end > 0xF0000 for start, end in touched)
    assert max(end for _, end in touched) == 5 * GIB + 0x10000, "what the hole displaced lies at the end"


@pytest.mark.rule("L7")
def test_hvm_4_17_falls_back_from_1_gib_to_2_mib_to_single_pages() -> None:
    """A failed 1-GiB try is followed by 8 MiB as superpages; a short one of those by single pages, exact."""
    steps = carry_out(hvm_4_17(2 * GIB), lambda attempt: {18: 0, 9: 1, 0: attempt.count}[attempt.order])
    at = steps.index(Attempt(GIB, 1, 18, exact=False))
    assert steps[at + 1 : at + 4] == [
        Attempt(GIB, 4, 9, exact=False),
        Attempt(GIB + 512, 3 * 512, 0, exact=True),
        Attempt(GIB + 2048, 4, 9, exact=False),
    ]


@pytest.mark.rule("L5")
def test_hvm_4_3_claims_late_and_too_little() -> None:
    """The 4.3 bug: after 0xa0 pages are in place it claims nr_pages - 0xc0 as a total, 0xa0 short."""
    steps = carry_out(hvm_4_3(GIB))
    assert steps[:2] == [Attempt(0, 0xA0, 0, exact=True), ClaimHere(GIB - 0xC0)]
    still_to_populate = GIB - 0xC0
    assert ClaimHere(GIB - 0xC0).pages - 0xA0 == still_to_populate - 0xA0
    assert shape(steps) == shape(carry_out(hvm_4_17(GIB))), "only the claim differs"


@pytest.mark.rule("L4", "L5", "L6", "L7")
@given(
    st.sampled_from([pv_4_3, pv_4_17, hvm_4_3, hvm_4_17]),
    st.integers(1, 6 * GIB),
    st.lists(st.integers(0, 600), max_size=8),
)
def test_every_plan_populates_each_page_once(
    make: Callable[[int], Plan], pages: int, answers: list[int]
) -> None:
    """Whatever superpages are refused, the pages in place are disjoint, aligned and exactly the guest's."""
    taken: list[tuple[int, int]] = []
    supply = iter(answers)

    def answer(attempt: Attempt) -> int:
        assert attempt.gfn % (1 << attempt.order) == 0, "superpages are aligned"
        done = attempt.count if attempt.exact else min(next(supply, attempt.count), attempt.count)
        taken.append((attempt.gfn, done << attempt.order))
        return done

    steps = carry_out(make(pages), answer)
    taken.sort()
    assert all(first + count <= later for (first, count), (later, _) in pairwise(taken))
    expected = pages if make in (pv_4_3, pv_4_17) else populated_by_hvm(pages)
    assert sum(count for _, count in taken) == expected
    assert sum(isinstance(step, ClaimHere) for step in steps) == 1


@given(st.sampled_from([pv_4_17, hvm_4_17, hvm_4_3]), st.integers(512, 3 * GIB))
def test_a_host_without_superpages_is_no_obstacle(make: Callable[[int], Plan], pages: int) -> None:
    """With every superpage refused the same pages come as single ones, and no plan gives up."""
    steps = carry_out(make(pages), no_superpages)
    singles = sum(one.count for one in steps if isinstance(one, Attempt) and not one.order)
    assert singles == (pages if make is pv_4_17 else populated_by_hvm(pages))
