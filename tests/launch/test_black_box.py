"""`claimlab check --black-box`: histories without commit numbers, explained by the core or refuted."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from hypervisor.core.host import Host, HostConfig, new_host
from hypervisor.core.machine import Machine, Operation
from hypervisor.core.releases import release
from hypervisor.core.steps import Caller
from hypervisor.public.domctl import CreateDomain, MaxMem, Physinfo, UnpauseDomain
from hypervisor.public.memory import ClaimPages, IncreaseReservation
from hypervisor.public.requests import Request
from launch.check.black_box import BlackBox, OutOfBudgetError, calls_of, search
from launch.check.histories import INVOKED, Event
from launch.check.open_calls import Call, Moment, OpenCalls
from launch.check.report import Verdict
from tests.launch.cluster_runs import claimlab
from tests.launch.test_compare import TINY

DOM0 = Caller(0, 1)


def boot(name: str = "4.17") -> Callable[[], Host]:
    """256 free pages and two domains' structures."""
    config = HostConfig((1024,), dom0_pages=512, xen_pages=128)
    return lambda: new_host(config, release(name))


SETUP: tuple[Request, ...] = (
    *(CreateDomain(domid) for domid in (1, 2)),
    *(MaxMem(domid, 4 * 1000) for domid in (1, 2)),
    *(UnpauseDomain(domid) for domid in (1, 2)),
)


class History:
    """Calls and moments written by hand, after the set-up."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.moments: list[Moment] = []
        for request in SETUP:
            self.back(self.call(DOM0, request), 0)

    def call(self, caller: Caller, *requests: Request) -> int:
        """An invocation."""
        self.calls.append(Call(caller, requests))
        self.moments.append(Moment(True, len(self.calls) - 1))
        return len(self.calls) - 1

    def back(self, call: int, *answers: int) -> None:
        """A return."""
        self.calls[call].answers = answers
        self.moments.append(Moment(False, call))

    def search(self, budget: float = 600.0) -> BlackBox:
        """Is there an order?"""
        return search(self.calls, self.moments, boot(), budget)


def grow(caller: Caller, pages: int) -> tuple[Caller, Request]:
    """A domain takes pages."""
    return caller, IncreaseReservation(caller.domid, pages)


ONE, TWO = Caller(1, 1), Caller(2, 2)


def free_after_setup() -> int:
    """Pages that the two domains may take."""
    machine = Machine(boot()())
    for request in SETUP:
        machine.run(machine.submit(DOM0, request))
    return machine.host.heap.total_avail


def test_an_answer_that_only_the_other_order_explains_is_explained() -> None:
    """Of two overlapping calls the one that returned last may have happened first."""
    free = free_after_setup()
    history = History()
    claim = history.call(DOM0, ClaimPages(1, free))
    growth = history.call(*grow(TWO, 1))
    history.back(claim, -12)  # ENOMEM: so the growth came first, although it returned later
    history.back(growth, 1)
    found = history.search()
    assert found.verdict is Verdict.VALID and found.dead_ends >= 1 and not found.steps


def test_the_same_answers_one_after_the_other_are_refuted() -> None:
    """When the claim had returned before the growth was invoked, nothing explains its refusal."""
    free = free_after_setup()
    history = History()
    history.back(history.call(DOM0, ClaimPages(1, free)), -12)
    history.back(history.call(*grow(TWO, 1)), 1)
    assert history.search().verdict is Verdict.INVALID


def test_hypercalls_that_interleave_are_explained_by_their_steps() -> None:
    """Two growths that share what is free, neither getting all of it: no order of whole calls does that."""
    free = free_after_setup()
    history = History()
    history.back(history.call(*grow(TWO, free - 6)), free - 6)
    one, two = history.call(*grow(ONE, 6)), history.call(*grow(TWO, 6))
    history.back(one, 2)
    history.back(two, 4)
    found = history.search()
    assert found.verdict is Verdict.VALID and found.steps
    short = History()
    one, two = short.call(*grow(ONE, 3)), short.call(*grow(TWO, 3))
    short.back(one, 3)
    short.back(two, 2)  # there is enough for both
    assert short.search().verdict is Verdict.INVALID


def test_a_call_without_an_answer_may_have_happened_or_not() -> None:
    """A lost answer explains a refusal that follows, and need not have happened where it does not."""
    free = free_after_setup()
    for ret in (-12, 0):
        history = History()
        history.call(*grow(TWO, 1))  # never returns
        history.back(history.call(DOM0, ClaimPages(1, free)), ret)
        assert history.search().verdict is Verdict.VALID


def test_a_search_out_of_budget_says_unknown() -> None:
    """Many calls at once and an answer that no order explains: too much for a tenth of a second."""
    history = History()
    open_calls = [history.call(*grow(caller, 9)) for caller in (ONE, TWO) * 6]
    for call in open_calls[:-1]:
        history.back(call, 9)
    history.back(open_calls[-1], 8)
    assert history.search(budget=0.1).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("seed", range(6))
def test_every_history_of_the_core_itself_is_valid(seed: int) -> None:
    """Random steps of up to four calls at once, each seen from outside, always have an explanation."""
    rng = Random(seed)
    machine = Machine(boot()())
    history = History()
    for request in SETUP:
        machine.run(machine.submit(DOM0, request))
    under_way: dict[int, Operation] = {}
    for _ in range(200):
        if len(under_way) < 4 and rng.random() < 0.3:
            caller = rng.choice((ONE, TWO))
            asked = rng.choice(
                (grow(caller, rng.randrange(1, 20)), (DOM0, ClaimPages(1, rng.randrange(300))))
            )
            under_way[history.call(*asked)] = machine.submit(*asked)
        if under_way:
            number = rng.choice(list(under_way))
            operation = under_way[number]
            machine.step(operation)
            if operation.reply is not None:
                history.back(number, operation.reply.ret)
                del under_way[number]
    assert history.search().verdict is not Verdict.INVALID


def test_a_real_run_is_explained_without_its_commits(tmp_path: Path) -> None:
    """Real processes: valid as it is, exit code 0; unknown without histories, exit code 2."""
    scenario = tmp_path / "tiny.toml"
    scenario.write_text(TINY, encoding="utf-8")
    out = tmp_path / "run"
    ran = claimlab("run", scenario, "--scheme", "claim", "--set", "duration=4", "--no-judge", "--out", out)
    assert ran.returncode == 0, ran.stderr
    host = out / "claim" / "1" / "host0"
    done = claimlab("check", out, "--black-box", "--budget", 600, "--json")
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["verdict"] == "valid"
    bare = Path(shutil.copytree(host, tmp_path / "bare"))
    for path in bare.rglob("*.history"):
        path.unlink()
    assert claimlab("check", bare, "--black-box").returncode == 2


def test_open_calls_are_known_wherever_one_turns_back_to() -> None:
    """Going back and forth gives for each moment what counting from the beginning gives."""
    dice, calls, moments, under_way = Random(5), list[Call](), list[Moment](), list[int]()
    for _ in range(200):
        if under_way and dice.random() < 0.5:
            moments.append(Moment(False, under_way.pop(dice.randrange(len(under_way)))))
        else:
            moments.append(Moment(True, len(calls)))
            refused = dice.random() < 0.1
            under_way += [] if refused else [len(calls)]
            calls.append(Call(DOM0, () if refused else (Physinfo(),)))
    open_calls = OpenCalls(calls, moments)
    for _ in range(300):
        asked = dice.randrange(len(moments))
        begun = {one.call for one in moments[: asked + 1] if one.invoked and calls[one.call].requests}
        returned = {one.call for one in moments[:asked] if not one.invoked}
        assert open_calls.at(asked) == sorted(begun - returned)


def test_what_a_search_keeps_does_not_grow_with_callers_times_calls() -> None:
    """Two thousand callers with a call open, as many calls beside them: a few MiB, not their product."""
    history = History()
    for caller in range(2_000):
        history.call(Caller(0, 2 + caller), Physinfo())
    for _ in range(2_000):
        history.back(history.call(DOM0, Physinfo()), 0)
    tracemalloc.start()
    try:
        found = history.search(600.0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (found.verdict, found.dead_ends) == (Verdict.VALID, 0)
    assert peak < 24 << 20


def test_the_budget_holds_while_histories_are_read() -> None:
    """Reading takes time as well: once it is spent nothing is known."""
    with pytest.raises(OutOfBudgetError):
        calls_of(
            (Event(0, INVOKED, 0, 1, (0, 1), 1, (Physinfo(),)) for _ in range(9)), ("one",), lambda: True
        )
