"""A run's progress where there is no terminal: a plain line for each host, now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hypervisor.public.observation import Snapshot
from hypervisor.public.units import Pages
from launch.live.trend import Trend, builds, refused_by_reason, shares
from launch.live.watching import Sight, Watcher

EVERY_SECONDS: Final = 2.0
"""Real seconds between two lines."""
PATIENCE_MS: Final = 1000


@contextmanager
def progress_lines(folder: Path, say: Callable[[str], None]) -> Generator[None]:
    """Say how the hosts below `folder` stand while the block runs."""
    stop = threading.Event()
    thread = threading.Thread(target=_follow, args=(folder, say, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _follow(folder: Path, say: Callable[[str], None], stop: threading.Event) -> None:
    watcher, earlier = Watcher(folder, PATIENCE_MS), dict[str, tuple[float, Snapshot]]()
    try:
        while not stop.wait(EVERY_SECONDS):
            for sight in watcher.look():
                if sight.snapshot is not None and sight.snapshot.seconds >= 0:
                    say(line_of(sight, sight.snapshot, earlier))
    finally:
        watcher.close()


def line_of(sight: Sight, now: Snapshot, earlier: dict[str, tuple[float, Snapshot]]) -> str:
    """Time, memory, builds, refusals and pace of one host; `earlier` remembers this look for the next."""
    key = f"{sight.access.scheme}/{sight.access.repeat}/{sight.access.host}"
    moment, (before_moment, before) = time.monotonic(), earlier.get(key, (0.0, None))
    earlier[key] = moment, now
    trend = Trend(now, before, moment - before_moment)
    parts, refused = shares(now), sum(times for _, _, times in refused_by_reason(now))
    return (
        f"  {sight.access.host}: {now.seconds:.0f} of {sight.access.duration:g} s, "
        f"used {percent(parts.used, now)}, claimed {percent(parts.claimed, now)}, "
        f"free {percent(parts.free, now)}, {len(now.domains) - 1} domains, "
        f"{len(builds(now))} builds in flight, {refused:,} allocations refused, "
        f"{trend.requests_per_second:,.0f} requests/s"
    )


def percent(pages: Pages, snapshot: Snapshot) -> str:
    """Of the host's memory."""
    return f"{100 * pages / snapshot.total_pages:.0f} %"
