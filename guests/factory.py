"""Workloads from their specs."""

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any, assert_never

import msgspec

from guests.config import (
    ConstantSpec,
    RandomWalkSpec,
    SineSpec,
    SquareSpec,
    TraceSpec,
    WorkloadSpec,
)
from guests.errors import GuestConfigError
from guests.replay import Replay
from guests.traces.folder import TraceFile
from guests.traces.windows import Window
from guests.workloads import Constant, RandomWalk, Sine, Square, Workload

KINDS = ("constant", "sine", "square", "random-walk", "trace")


def workload_spec(raw: Mapping[str, Any]) -> WorkloadSpec:
    """The spec that `raw` spells: {"kind": "sine", "mean": 1000, ...}.

    Raises `GuestConfigError`, one line that names the cure.
    """
    kind = raw.get("kind")
    if kind not in KINDS:
        raise GuestConfigError(f"unknown workload kind {kind!r}: use {', '.join(KINDS)}")
    try:
        spec: WorkloadSpec = msgspec.convert(dict(raw), WorkloadSpec)
    except msgspec.ValidationError as error:
        raise GuestConfigError(f"workload {kind}: {error}") from None
    return spec


def make_workload(spec: WorkloadSpec, seed: int) -> Workload:
    """The workload of `spec`; `seed` moves a random walk and nothing else.

    Raises `GuestConfigError` for figures that no workload can have, `TraceError` for a trace.
    """
    try:
        return _workload(spec, seed)
    except ValueError as error:
        raise GuestConfigError(str(error)) from error


def _workload(spec: WorkloadSpec, seed: int) -> Workload:
    match spec:
        case ConstantSpec():
            return Constant(spec.pages)
        case SineSpec():
            return Sine(spec.mean, spec.amplitude, spec.period, spec.phase)
        case SquareSpec():
            return Square(spec.low, spec.high, spec.period, spec.duty, spec.phase)
        case RandomWalkSpec():
            return RandomWalk(spec.start, spec.step, spec.low, spec.high, spec.interval, Random(seed))
        case TraceSpec():
            return _replay(spec)
        case _:
            assert_never(spec)


def _replay(spec: TraceSpec) -> Replay:
    trace = TraceFile(Path(spec.path), spec.format, spec.machine_pages)
    # provisioned and peak size a guest when its window is chosen; replaying needs neither.
    window = Window(trace, spec.first, spec.length, provisioned=0, peak=0)
    return Replay(
        window.points,
        speedup=spec.speedup,
        scale=spec.scale,
        floor=spec.floor,
        ceiling=spec.ceiling,
        after=spec.after,
    )


def trace_spec(
    window: Window,
    *,
    speedup: float = 1.0,
    scale: float = 1.0,
    floor: int = 0,
    ceiling: int | None = None,
) -> TraceSpec:
    """The spec that replays a chosen window."""
    trace = window.trace
    return TraceSpec(
        path=str(trace.path),
        format=trace.format,
        machine_pages=trace.machine_pages,
        first=window.first,
        length=window.length,
        speedup=speedup,
        scale=scale,
        floor=floor,
        ceiling=ceiling,
    )
