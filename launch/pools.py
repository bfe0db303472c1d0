"""Processes for work that is done piece by piece, and Ctrl-C that ends all of them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_order(work: Callable[[Task], Result], tasks: Sequence[Task], jobs: int) -> Iterator[Result]:
    """Results in the order of the tasks, `jobs` at a time; in this process where that is one."""
    if min(jobs, len(tasks)) < 2:
        yield from map(work, tasks)
        return
    with _pool(min(jobs, len(tasks))) as executor:
        yield from executor.map(work, tasks)


def as_they_come(
    work: Callable[[Task], Result], tasks: Sequence[Task], jobs: int
) -> Iterator[tuple[Task, Result]]:
    """Tasks with their results, whichever is there first."""
    if min(jobs, len(tasks)) < 2:
        yield from ((task, work(task)) for task in tasks)
        return
    with _pool(min(jobs, len(tasks))) as executor:
        pending: dict[Future[Result], Task] = {executor.submit(work, task): task for task in tasks}
        for future in as_completed(pending):
            yield pending[future], future.result()


@contextmanager
def _pool(jobs: int) -> Generator[ProcessPoolExecutor, None, None]:
    """Whoever leaves early waits for nothing that has not begun."""
    with ProcessPoolExecutor(jobs, get_context("spawn"), _end_on_interrupt) as executor:
        try:
            yield executor
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


def _end_on_interrupt() -> None:
    """Ctrl-C reaches every process of the terminal; the parent alone has something to say about it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
