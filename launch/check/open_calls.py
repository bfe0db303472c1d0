"""Which calls are open at a moment of a history, for whoever goes back and forth in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypervisor.core.steps import Caller
from hypervisor.public.requests import Request


@dataclass(slots=True)
class Call:
    """One call of a party's history."""

    caller: Caller
    requests: tuple[Request, ...]
    answers: tuple[int, ...] | None = None
    """The returned numbers; None when there was no answer, so that it may have happened or not."""


@dataclass(frozen=True, slots=True)
class Moment:
    """An invocation or a return."""

    invoked: bool
    call: int


class OpenCalls:
    """A place in the moments of a history. To ask costs how far it must move.

    A thousand parties may each have a call open all the time, so nothing is kept for every moment.
    """

    def __init__(self, calls: Sequence[Call], moments: Sequence[Moment]) -> None:
        self._calls = calls
        self._moments = moments
        self._at = -1
        self._open: set[int] = set()

    def at(self, moment: int) -> list[int]:
        """The calls invoked by then and not returned before, in order of invocation."""
        while self._at < moment:
            self._forward()
        while self._at > moment:
            self._back()
        return sorted(self._open)  # calls are numbered in that order

    def _forward(self) -> None:
        here = self._moments[self._at] if self._at >= 0 else None
        if here is not None and not here.invoked:
            self._open.discard(here.call)
        self._at += 1
        here = self._moments[self._at]
        if here.invoked and self._calls[here.call].requests:
            self._open.add(here.call)

    def _back(self) -> None:
        here = self._moments[self._at]
        if here.invoked:
            self._open.discard(here.call)
        self._at -= 1
        here = self._moments[self._at]
        if not here.invoked and self._calls[here.call].requests:
            self._open.add(here.call)
