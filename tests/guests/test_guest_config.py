"""A guest's configuration as plain data, and the workloads made from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from guests.config import GuestConfig, SineSpec
from guests.errors import GuestConfigError
from guests.factory import make_workload, trace_spec, workload_spec
from guests.traces.folder import find_traces
from guests.traces.windows import windows
from guests.workloads import Sine

WALK = {"kind": "random-walk", "start": 50, "step": 10, "low": 0, "high": 100, "interval": 1.0}


@pytest.mark.parametrize(
    ("raw", "t", "pages"),
    [
        ({"kind": "constant", "pages": 70}, 5.0, 70),
        ({"kind": "sine", "mean": 100, "amplitude": 50, "period": 40.0}, 10.0, 150),
        ({"kind": "square", "low": 10, "high": 90, "period": 10.0, "duty": 0.3}, 4.0, 10),
        (WALK, 0.0, 50),
    ],
)
def test_a_spec_makes_its_workload(raw: dict[str, Any], t: float, pages: int) -> None:
    """The plain description of a workload gives that workload's demand."""
    assert make_workload(workload_spec(raw), seed=1).demand(t) == pages


def test_the_seed_moves_a_random_walk() -> None:
    """One seed is one walk, in every process; another seed is another walk."""

    def walk(seed: int) -> list[int]:
        workload = make_workload(workload_spec(WALK), seed)
        return [workload.demand(float(t)) for t in range(50)]

    assert walk(3) == walk(3) != walk(4)


def test_a_window_of_a_trace_travels_as_a_spec(shared: Path) -> None:
    """A window chosen in one process replays the same demand in another that gets only its spec."""
    trace = find_traces(shared / "traces" / "google-borg2019-instances" / "input-sim")[0]
    window = next(windows(trace, 24))
    spec = trace_spec(window, speedup=10.0, scale=1.3)
    received = msgspec.msgpack.decode(msgspec.msgpack.encode(spec), type=type(spec))
    points = list(window.points())
    workload = make_workload(received, seed=0)
    assert [workload.demand(t / 10.0) for t, _ in points] == [round(1.3 * pages) for _, pages in points]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"kind": "cosine"}, "use constant, sine, square, random-walk, trace"),
        ({"kind": "sine", "mean": 100}, "missing required field `amplitude`"),
        ({"kind": "constant", "page": 3}, "unknown field `page`"),
    ],
)
def test_bad_specs_name_the_cure(raw: dict[str, Any], words: str) -> None:
    """A description that is none is refused in one line."""
    with pytest.raises(GuestConfigError) as refusal:
        workload_spec(raw)
    assert words in str(refusal.value) and "\n" not in str(refusal.value)


def test_impossible_figures_are_refused() -> None:
    """A demand below zero is refused when the workload is made."""
    with pytest.raises(GuestConfigError, match="amplitude"):
        make_workload(SineSpec(mean=10, amplitude=20, period=5.0), seed=0)


def test_a_configuration_survives_msgpack() -> None:
    """Sent to a process as bytes, a configuration arrives equal, its workload's kind included."""
    config = GuestConfig(
        domid=3, incarnation=9, secret=b"s", static_max=10, frames=((0, 5),), workload=SineSpec(5, 5, 1.0)
    )
    received = msgspec.msgpack.decode(msgspec.msgpack.encode(config), type=GuestConfig)
    assert received == config
    assert isinstance(make_workload(received.workload, 0), Sine)
    assert config.name == "guest-3-9"
