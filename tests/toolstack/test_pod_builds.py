"""Guests started below their maximum: built populate-on-demand, ballooned down to their target (A29, A30)."""

from __future__ import annotations

from random import Random

import pytest

from guests.config import ConstantSpec, GuestConfig
from guests.kernel.kernel import GuestKernel
from hypervisor.core.invariants import check, unpermitted
from hypervisor.core.sources import Source
from hypervisor.public.orders import Stage
from hypervisor.public.units import PAGES_PER_MIB, runs_length
from tests.toolstack.virtual_toolstack import VirtualToolstack
from toolstack.builder.build import POD_BUILDERS
from toolstack.builder.hvm import populated_by_hvm
from toolstack.builder.plan import Attempt, ClaimHere, PodTargetHere
from toolstack.claim import Claim
from toolstack.naive import Naive

PAGES, MAX = 24 * PAGES_PER_MIB, 64 * PAGES_PER_MIB


@pytest.mark.rule("L7", "L5", "A9")
@pytest.mark.parametrize("builder", tuple(POD_BUILDERS))
def test_every_gfn_up_to_maxmem_is_marked(builder: str) -> None:
    """Claim and cache are for the target, the marks for maxmem; 4.3 claims late, and for maxmem."""
    plan = POD_BUILDERS[builder](PAGES, MAX)
    steps = []
    step: Attempt | ClaimHere | PodTargetHere | None = next(plan)
    while step is not None:
        steps.append(step)
        try:
            step = plan.send(step.count if isinstance(step, Attempt) else 0)
        except StopIteration:
            step = None
    attempts = [one for one in steps if isinstance(one, Attempt)]
    assert sum(one.pages for one in attempts) == populated_by_hvm(MAX)
    assert all(one.mem_flags for one in attempts)
    others = [one for one in steps if not isinstance(one, Attempt)]
    if builder == "hvm-4.17":
        assert steps[:2] == others == [ClaimHere(PAGES - 32), PodTargetHere(PAGES - 32)]
    else:
        assert others == [PodTargetHere(PAGES - 32), ClaimHere(MAX - 0xC0)]


@pytest.mark.rule("A29", "A30", "G7")
def test_the_guest_reaches_its_target_by_giving_entries_back() -> None:
    """A guest of 24 MiB with a maximum of 64 boots with 24, balloons 40 of nothing away, and stays alive."""
    stack = VirtualToolstack(Naive({}))
    order = stack.order(PAGES, "hvm-4.17", MAX)
    outcome = stack.run_until_outcome(order, Stage.BUILT)
    domain = stack.domain(outcome.domid)
    assert runs_length(outcome.frames) == populated_by_hvm(MAX)
    assert (domain.tot_pages, domain.pod.count) == (PAGES - 32, PAGES - 32)
    assert domain.pod.entries == populated_by_hvm(MAX)
    free = stack.free
    world = stack.host.simulator.world(outcome.domid, outcome.incarnation, Random(3))
    config = GuestConfig(
        domid=outcome.domid,
        incarnation=outcome.incarnation,
        secret=b"",
        static_max=populated_by_hvm(MAX),
        frames=outcome.frames,
        workload=ConstantSpec(PAGES - 400),
        self_sizing=False,
        populate_on_demand=True,
    )
    kernel = GuestKernel(world, config)
    world.spawn(kernel.run(), "guest")
    stack.run(stack.host.now + 60.0)
    assert kernel.report().current_pages == PAGES - 32
    assert domain.tot_pages == PAGES - 32
    assert domain.pod.entries == domain.pod.count, "what is marked can be met"
    assert domain.pod.count < PAGES // 2, "the rest has been touched"
    assert not domain.is_shut_down
    assert stack.free == free
    assert unpermitted(check(stack.machine.host, ()), stack.machine.host.release) == ()


@pytest.mark.rule("A29", "C16")
def test_a_claim_covers_the_target_alone() -> None:
    """With the scheme claim, two guests of 24 MiB fit where only their maxima would not."""
    stack = VirtualToolstack(Claim({}), ram=120 * PAGES_PER_MIB)
    orders = [stack.order(PAGES, "hvm-4.17", MAX) for _ in range(2)]
    stack.run(200.0)
    assert [stack.last(one).stage for one in orders] == [Stage.BUILT, Stage.BUILT]
    assert stack.claimed == 0
    assert stack.machine.host.growth[Source.POD] == 2 * (PAGES - 32)


@pytest.mark.rule("A29", "L8")
def test_too_little_memory_for_the_cache_fails_the_build() -> None:
    """set_pod_target short of memory is ENOMEM, the build fails late, and everything is put back."""
    stack = VirtualToolstack(Naive({}), ram=60 * PAGES_PER_MIB)
    free = stack.free
    order = stack.order(40 * PAGES_PER_MIB, "hvm-4.17", MAX)
    stack.run(200.0)
    assert stack.last(order).stage in (Stage.FAILED, Stage.REFUSED)
    assert stack.free == free
