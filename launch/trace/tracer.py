"""Operations as slices, told of every step of a journal.

A caller's slice reaches from the first commit of its operation to the last one: the journal does not say when
a caller sent and when it heard. Commits are strictly one after the other, so each has a time of its own: that
of the journal's clock, and two nanoseconds more than the one before where the clock has not moved.
"""

from __future__ import annotations

from typing import Final

from hypervisor.public.domctl import MaxMem
from hypervisor.public.memory import ClaimPages
from hypervisor.public.requests import Request
from hypervisor.public.tmem import TmemControl, TmemOp
from hypervisor.public.units import DomId, Seconds
from hypervisor.public.xenstore import StoreOp
from launch.check.states import Done
from launch.explore.describe import answer, operation
from launch.trace.events import Event, Track, begin, end, flow_finish, flow_start, thread_name, whole

MICROSECONDS: Final = 1e6
APART: Final = 0.002
"""Microseconds between two commits, at least."""
WIDTH: Final = 0.001
"""Of a commit's own slice, microseconds."""
HYPERVISOR, TOOLSTACKS, GUESTS, ACCOUNTS = 1, 2, 3, 4
"""Processes of a host in the trace, added to `base`."""
COMMITS: Final = 1
LANES: Final = 64
"""Tracks that a caller has at most: as many operations at a time are drawn."""


class _Open:
    """An operation whose slice has begun."""

    __slots__ = ("lane", "lanes", "refused", "track")

    def __init__(self, track: Track, lanes: set[int], lane: int) -> None:
        self.track = track
        self.lanes = lanes
        self.lane = lane
        self.refused = ""


class Tracer:
    """A `launch.report.reading.Watcher`."""

    def __init__(self, base: int, limit: int) -> None:
        """base: where the host's process numbers begin. limit: operations drawn; later ones are counted.

        Guests have two thirds of them, so that they cannot crowd toolstacks out; claims and limits are always
        drawn.
        """
        self._base = base
        self._limit = limit
        self._time = 0.0
        self._open: dict[int, _Open] = {}
        self._lanes: dict[tuple[DomId, int], tuple[int, set[int]]] = {}
        self._named: set[Track] = set()
        self._commits = Track(base + HYPERVISOR, COMMITS)
        self.events: list[Event] = [thread_name(self._commits, "commits")]
        self.drawn = self.left_out = 0

    def after(self, done: Done, now: Seconds) -> None:
        """One step."""
        one, step, result = done.one, done.step, done.result
        time = self._time = max(now * MICROSECONDS, self._time + APART)
        number, first, last = one.operation.number, one.steps == 1, result.reply is not None
        if first:
            self._begin(done, time)
        drawn = self._open.get(number)
        if drawn is None:
            return
        if first or last or result.refusals:
            args = {"commit": result.commit, "operation": number}
            self.events.append(whole(self._commits, time, WIDTH, step.name, "commit", args))
        if first:
            self.events.append(flow_start(drawn.track, time, "call", 2 * number + self._flows))
            self.events.append(flow_finish(self._commits, time, "call", 2 * number + self._flows))
        if result.refusals:
            drawn.refused = result.refusals[0].reason.value
        if last:
            self.events.append(flow_start(self._commits, time, "answer", 2 * number + 1 + self._flows))
            self.events.append(flow_finish(drawn.track, time, "answer", 2 * number + 1 + self._flows))
            self._end(done, drawn, time)

    @property
    def _flows(self) -> int:
        """Numbers of arrows are the whole trace's."""
        return self._base << 32

    def close(self) -> float:
        """The journal has ended, and with it what was under way. Returns the last time, microseconds."""
        for drawn in self._open.values():
            self.events.append(
                end(drawn.track, self._time + WIDTH, {"answer": "none: the journal ends here"})
            )
        self._open.clear()
        return self._time + WIDTH

    def _begin(self, done: Done, time: float) -> None:
        one = done.one.operation
        if is_dull(one.request):
            return
        room = self._limit if one.caller.privileged else self._limit * 2 // 3
        if self.drawn >= room and not isinstance(one.request, ClaimPages | MaxMem):
            self.left_out += 1
            return
        lane, lanes, track = self._track(one.caller.domid, one.caller.incarnation)
        if lane == LANES:
            self.left_out += 1
            return
        self.drawn += 1
        lanes.add(lane)
        self._open[one.number] = _Open(track, lanes, lane)
        text = operation(one.request, one.caller.domid)
        args = {"operation": one.number, "commit": one.first_commit}
        self.events.append(begin(track, time, text, kind_of(one.request), args))

    def _end(self, done: Done, drawn: _Open, time: float) -> None:
        result, one = done.result, done.one.operation
        assert result.reply is not None
        args = {"answer": answer(one.request, result.reply), "last_commit": result.commit}
        if drawn.refused:
            args["refused"] = drawn.refused
        self.events.append(end(drawn.track, time + WIDTH, args))
        drawn.lanes.discard(drawn.lane)
        del self._open[one.number]

    def _track(self, domid: DomId, incarnation: int) -> tuple[int, set[int], Track]:
        """The caller's first track on which nothing is under way."""
        key = (domid, incarnation)
        if key not in self._lanes:
            self._lanes[key] = (len(self._lanes) * LANES + 1, set())
        start, lanes = self._lanes[key]
        lane = next((lane for lane in range(LANES) if lane not in lanes), LANES)
        track = Track(self._base + (GUESTS if domid else TOOLSTACKS), start + lane)
        whose = f"domain {domid}" if domid else f"toolstack {incarnation}"
        if track not in self._named and lane < LANES:
            self._named.add(track)
            self.events.append(thread_name(track, f"{whose} #{lane + 1}" if lane else whose))
        return lane, lanes, track


def is_dull(request: Request) -> bool:
    """xenstore and tmem: many, and no step of the argument."""
    return isinstance(request, StoreOp | TmemOp | TmemControl)


def kind_of(request: Request) -> str:
    """The category that viewers filter by."""
    name = type(request).__name__
    return {"ClaimPages": "claim", "MaxMem": "clamp", "PopulatePhysmap": "populate"}.get(name, "hypercall")
