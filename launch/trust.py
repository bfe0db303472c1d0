"""Whether the timings of real processes can be trusted, or the machine had too much to do.

The rule: every process measures how much later than asked it wakes up (`hypervisor.lag`). The run is trusted
when the 99th percentile of each, in emulated seconds (real ones times the speed), is at most a tenth of the
shortest time that matters in the scenario: between two looks of a guest at its own demand, or a whole build.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hypervisor.public.lag import Lag
from hypervisor.public.units import Seconds
from launch.cluster.host_plan import HostResult
from launch.scenario.models import Scenario

SHARE: Final = 0.1
"""Of the shortest time that matters: the most that a process may lag."""


def time_scale(scenario: Scenario) -> Seconds:
    """The shortest time that matters, emulated: a guest's tick or the build of the smallest launch."""
    arrivals = scenario.arrivals
    sizes = (*arrivals.sizes, *(() if arrivals.size is None else (arrivals.size,)))
    builds = [pages / scenario.toolstack.pages_per_second for pages in sizes]
    return float(min((scenario.guests.tick, *builds)))


def lags_of(result: HostResult) -> Mapping[str, Lag]:
    """Of every process of a real run; empty for a virtual one."""
    if not result.lags:
        return {}
    guests = {f"guest {one.domid}": Lag(one.lag_p99_s, one.lag_max_s) for one in result.reports}
    return {**result.lags, **guests}


def distrust(lags: Mapping[str, Lag], speed: float, scale: Seconds) -> str | None:
    """One line that says why the timings cannot be trusted; None when they can.

    `lags`: by process. `speed`: emulated seconds in a real one. `scale`: emulated seconds, see `time_scale`.
    """
    if not lags:
        return None
    party, worst = max(lags.items(), key=lambda one: one[1].p99_s)
    lag = worst.p99_s * speed
    if lag <= SHARE * scale:
        return None
    return (
        f"the machine was too loaded for the timings to be trusted: {party} woke up {_milliseconds(lag)} ms "
        f"(emulated) too late at the 99th percentile, and {_milliseconds(SHARE * scale)} ms are a tenth "
        "of the shortest time that matters: leave the machine to the run, or lower speed"
    )


def _milliseconds(time: Seconds) -> str:
    """For readers: 1,340 and not 1.34e+03."""
    value = time * 1000
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
