"""The loop runs coroutines in one order only: FIFO when ready, (time, creation) for timers."""

from __future__ import annotations

from typing import Any

import pytest

from hypervisor.public.world import CancelledError
from hypervisor.public.world import Task as TaskProtocol
from hypervisor.tasks import Future, Loop


def test_tasks_run_in_order_of_spawning() -> None:
    """Tasks that are ready run first in, first out."""
    loop, seen = Loop(), []

    async def note(name: str) -> None:
        seen.append(name)

    for name in ("a", "b", "c"):
        loop.spawn(note(name), name)
    assert seen == []
    loop.run_ready(0.0)
    assert seen == ["a", "b", "c"]
    assert loop.live_tasks() == ()


def test_timers_fire_by_time_and_then_by_creation() -> None:
    """Timers due together fire in the order in which they were set."""
    loop, seen = Loop(), []
    for when, name in ((2.0, "late"), (1.0, "first"), (1.0, "second")):
        loop.call_at(when, lambda name=name: seen.append(name))
    assert loop.next_timer() == 1.0
    loop.run_ready(0.5)
    assert seen == []
    loop.run_ready(5.0)
    assert seen == ["first", "second", "late"]
    assert loop.next_timer() is None


def test_sleeping_zero_lets_the_owner_of_the_loop_move() -> None:
    """A coroutine that sleeps 0 for ever does not keep run_ready from returning."""
    loop, rounds = Loop(), []

    async def spin() -> None:
        while True:
            rounds.append(1)
            await loop.sleep_until(0.0)

    loop.spawn(spin(), "spin")
    for _ in range(3):
        loop.run_ready(0.0)
    assert len(rounds) == 3
    loop.close()


def test_a_future_wakes_all_who_await_it_in_order() -> None:
    """Waiters of one future wake in the order in which they began to wait, late ones at once."""
    loop, seen = Loop(), []
    future: Future[int] = loop.future()

    async def wait(name: str) -> None:
        seen.append((name, await future))

    loop.spawn(wait("a"), "a")
    loop.spawn(wait("b"), "b")
    loop.run_ready(0.0)
    future.set_result(7)
    loop.spawn(wait("late"), "late")
    loop.run_ready(0.0)
    assert seen == [("a", 7), ("b", 7), ("late", 7)]


def test_a_future_takes_one_result_only() -> None:
    """Setting a second result is an error of the program."""
    future = Loop().future()
    with pytest.raises(RuntimeError, match="no result yet"):
        future.result()
    future.set_result(1)
    with pytest.raises(RuntimeError, match="one result only"):
        future.set_result(2)


def test_awaiting_a_task_gives_its_result_or_its_exception() -> None:
    """An awaited task hands its result, or what it raised, to the awaiting task."""
    loop, seen = Loop(), []

    async def good() -> int:
        await loop.sleep_until(1.0)
        return 5

    async def bad() -> int:
        await loop.sleep_until(1.0)
        raise ValueError("no")

    async def parent() -> None:
        task: TaskProtocol[int] = loop.spawn(good(), "good")
        assert not task.done()
        seen.append(await task)
        try:
            await loop.spawn(bad(), "bad")
        except ValueError as error:
            seen.append(str(error))

    loop.spawn(parent(), "parent")
    for now in (0.0, 1.0, 2.0):
        loop.run_ready(now)
    assert seen == [5, "no"]


def test_an_exception_nobody_awaits_leaves_run_ready() -> None:
    """A party dies with the exception of its unawaited task; the rest of the loop is intact."""
    loop, seen = Loop(), []

    async def bad() -> None:
        raise ValueError("dies")

    async def other() -> None:
        seen.append("ran")

    loop.spawn(bad(), "bad")
    loop.spawn(other(), "other")
    with pytest.raises(ValueError, match="dies"):
        loop.run_ready(0.0)
    loop.run_ready(0.0)
    assert seen == ["ran"]


def cancellable(loop: Loop, seen: list[str], future: Future[Any]) -> Any:
    """A coroutine that notes how its wait ended."""

    async def wait() -> None:
        try:
            await future
            seen.append("woke")
        except CancelledError:
            seen.append("cancelled")
            raise

    return wait()


@pytest.mark.parametrize("settled_first", [False, True])
def test_cancel_raises_inside_the_task(settled_first: bool) -> None:
    """Cancelling raises at the current await, also when its result has just arrived."""
    loop, seen = Loop(), []
    future = loop.future()
    task = loop.spawn(cancellable(loop, seen, future), "waiter")
    loop.run_ready(0.0)
    if settled_first:
        future.set_result(None)
    task.cancel()
    loop.run_ready(0.0)
    assert seen == ["cancelled"]
    assert task.done()
    if not settled_first:
        future.set_result(None)
    task.cancel()
    loop.run_ready(0.0)
    assert seen == ["cancelled"]


def test_a_task_cancelled_before_it_began_never_runs() -> None:
    """Cancelling a task that has not started leaves its body unrun, and is no failure."""
    loop, seen = Loop(), []
    task = loop.spawn(cancellable(loop, seen, loop.future()), "waiter")
    task.cancel()
    loop.run_ready(0.0)
    assert (seen, task.done()) == ([], True)


def test_a_task_may_survive_its_cancellation() -> None:
    """A task that catches CancelledError goes on to its next await."""
    loop, seen = Loop(), []

    async def stubborn() -> str:
        try:
            await loop.future()
        except CancelledError:
            seen.append("caught")
        await loop.sleep_until(1.0)
        return "finished"

    task = loop.spawn(stubborn(), "stubborn")
    loop.run_ready(0.0)
    task.cancel()
    loop.run_ready(0.0)
    loop.run_ready(1.0)
    assert (seen, task.result()) == (["caught"], "finished")


def test_a_killed_task_never_wakes() -> None:
    """kill() ends a task for good: its future's result is nobody's, its waits in `finally` are not served."""
    loop, seen = Loop(), []
    future = loop.future()

    async def victim() -> None:
        try:
            await future
            seen.append("woke")
        finally:
            await loop.future()
            seen.append("cleaned up")

    task = loop.spawn(victim(), "victim")
    loop.run_ready(0.0)
    task.kill()
    future.set_result(None)
    loop.run_ready(1.0)
    assert (seen, loop.live_tasks()) == ([], ())


def test_only_futures_of_a_loop_can_be_awaited() -> None:
    """A foreign awaitable is refused with the task's name."""
    loop = Loop()

    class Foreign:
        def __await__(self) -> Any:
            yield "something else"

    async def lost() -> None:
        await Foreign()

    loop.spawn(lost(), "lost")
    with pytest.raises(TypeError, match="'lost' awaited"):
        loop.run_ready(0.0)
    loop.close()
