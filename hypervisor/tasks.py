"""A deterministic cooperative scheduler: coroutines, futures and timers, and no clock of its own.

Whoever owns the `Loop` (a process around its sockets, the simulator around the machine) tells it what
time it is. The same coroutines given the same results at the same times wake up in the same order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from heapq import heappop, heappush
from typing import Any, Generic, TypeVar, cast

from hypervisor.public.units import Seconds
from hypervisor.public.world import CancelledError

T = TypeVar("T")


class Future(Generic[T]):
    """A result that comes later; any number of tasks may await it, before or after it is there."""

    __slots__ = ("_done", "_error", "_loop", "_value", "_waiters")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._done = False
        self._value: T | None = None
        self._error: BaseException | None = None
        self._waiters: tuple[Task[Any], ...] = ()  # hardly ever more than one, and often none

    def done(self) -> bool:
        """True once it has a result or an exception."""
        return self._done

    def result(self) -> T:
        """The result, or raises the exception. Only valid once done."""
        if not self._done:
            raise RuntimeError("the future has no result yet: await it")
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # set together with _done

    def set_result(self, value: T) -> None:
        """Wake everyone who awaits it, in the order in which they began to."""
        if self._done:
            raise RuntimeError("a future gets one result only")
        self._done = True
        self._value = value
        if self._waiters:
            wake = self._loop.call_soon
            for task in self._waiters:
                wake(task.advance)
            self._waiters = ()

    def set_exception(self, error: BaseException) -> None:
        """Raise `error` in everyone who awaits it, now or later."""
        if not self._done:
            self._error = error
        self.set_result(cast(T, None))

    def __await__(self) -> Generator[Future[Any], None, T]:
        if not self._done:
            yield self
        if self._error is not None or not self._done:
            return self.result()
        return self._value  # type: ignore[return-value]  # set together with _done

    def forsake(self, task: Task[Any]) -> bool:
        """That task does not wait for it any more; False if it did not. Only tasks call this."""
        if task not in self._waiters:
            return False
        self._waiters = tuple(one for one in self._waiters if one is not task)
        return True


class Task(Future[T]):
    """A running coroutine; awaiting it gives what it returned. Implements `public.world.Task`.

    Cancelling a task that awaits another task cancels the waiting one only.
    """

    __slots__ = ("_awaiting", "_cancelled", "_coroutine", "_name")

    def __init__(self, loop: Loop, coroutine: Coroutine[Any, Any, T], name: str) -> None:
        super().__init__(loop)
        self._coroutine = coroutine
        self._name = name
        self._awaiting: Future[Any] | None = None
        self._cancelled = False

    @property
    def name(self) -> str:
        """The name given at spawn."""
        return self._name

    def cancel(self) -> None:
        """Raise `CancelledError` inside it at its current await; no effect once done."""
        if self._done:
            return
        self._cancelled = True
        awaited = self._awaiting
        if awaited is not None and awaited.forsake(self):
            self._loop.call_soon(self.advance)
        # Otherwise it is in the ready queue already, and meets the cancellation there.

    def kill(self) -> None:
        """End it where it stands, as SIGKILL would: it is never resumed, whoever awaits it never wakes.

        Python runs its `finally` blocks; an await in them raises instead of waiting.
        """
        if self._done:
            return
        self._done = True
        self._loop.forget(self)
        if self._awaiting is not None:
            self._awaiting.forsake(self)
        # RuntimeError: it awaited inside `finally`, and there is nobody left to resume it.
        with suppress(CancelledError, RuntimeError):
            self._coroutine.close()

    def advance(self) -> None:
        """Run it up to its next await. Only the loop calls this."""
        if self._done:
            return
        self._awaiting = None
        try:
            if self._cancelled:
                self._cancelled = False
                awaited = self._coroutine.throw(CancelledError())
            else:
                awaited = self._coroutine.send(None)
        except StopIteration as stop:
            self._loop.forget(self)
            self.set_result(stop.value)
        except BaseException as error:
            self._loop.forget(self)
            self._fail(error)
        else:
            self._wait_for(awaited)

    def _wait_for(self, awaited: object) -> None:
        if not isinstance(awaited, Future):
            raise TypeError(f"task {self._name!r} awaited {awaited!r}: await only what its World gives out")
        self._awaiting = awaited
        if awaited._done or self._cancelled:
            self._loop.call_soon(self.advance)
        else:
            awaited._waiters += (self,)

    def _fail(self, error: BaseException) -> None:
        watched = bool(self._waiters)
        self.set_exception(error)
        if not watched and not isinstance(error, CancelledError):
            self._loop.failed = self
            raise error  # out of run_ready: the party dies with it


class Loop:
    """Ready tasks in FIFO order, and timers in (time, order of creation)."""

    def __init__(self) -> None:
        self._ready: deque[Callable[[], None]] = deque()
        self.call_soon: Callable[[Callable[[], None]], None] = self._ready.append
        """Run a callback after everything that is ready now."""
        self._timers: list[tuple[Seconds, int, Callable[[], None]]] = []
        self._sequence = 0
        self._live: dict[Task[Any], None] = {}  # in order of creation: a dict, because sets have none
        self.failed: Task[Any] | None = None
        """Whose exception left `run_ready` last."""

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> Task[T]:
        """Make `coroutine` a task; it starts when the loop comes to it."""
        task = Task(self, coroutine, name)
        self._live[task] = None
        self._ready.append(task.advance)
        return task

    def future(self) -> Future[Any]:
        """A new, empty future."""
        return Future(self)

    def call_at(self, when: Seconds, callback: Callable[[], None]) -> None:
        """Run `callback` in the first `run_ready` whose `now` is at least `when`."""
        self._sequence += 1
        heappush(self._timers, (when, self._sequence, callback))

    def sleep_until(self, when: Seconds) -> Future[None]:
        """A future that is done at `when`."""
        future: Future[None] = Future(self)
        self.call_at(when, lambda: future.set_result(None))
        return future

    def next_timer(self) -> Seconds | None:
        """When the earliest timer is due; None when there is no timer."""
        return self._timers[0][0] if self._timers else None

    def is_ready(self) -> bool:
        """True while something waits to be run without any timer."""
        return bool(self._ready)

    def live_tasks(self) -> tuple[Task[Any], ...]:
        """Tasks not done yet, oldest first."""
        return tuple(self._live)

    def run_ready(self, now: Seconds) -> None:
        """Fire the timers due at `now`, then run until nothing is ready.

        A timer set meanwhile waits for the next call even when due: so a coroutine that only ever
        sleeps 0 seconds cannot keep its process from its sockets. Raises what an unawaited task
        raised; the loop can go on afterwards.
        """
        timers = self._timers
        while timers and timers[0][0] <= now:
            self._ready.append(heappop(timers)[2])
        ready = self._ready
        while ready:
            ready.popleft()()

    def forget(self, task: Task[Any]) -> None:
        """Drop a task that has ended. Only tasks call this."""
        self._live.pop(task, None)

    def close(self) -> None:
        """Kill every task that is left, newest first."""
        for task in reversed(self.live_tasks()):
            task.kill()
        self._ready.clear()
        self._timers.clear()
