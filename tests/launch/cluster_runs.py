"""Small real runs of `claimlab run` for tests, as a user starts them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tenacity import Retrying, retry_if_not_result, stop_after_delay, wait_fixed

from hypervisor.public.orders import Stage
from launch.records import read_outcomes
from launch.results import start_time

SMALL = """
name = "small"
speed = 20
duration = 30
schemes = ["naive", "claim", "clamp"]

[host]
memory = "1GiB"
dom0 = "64MiB"
xen = "32MiB"

[guests]
count = 4
memory = "64MiB"
max = "96MiB"
headroom = 1.05
swap = "8MiB"
workload = [{ kind = "sine", mean = "61MiB", amplitude = "4MiB", period = 20 }]

[arrivals]
kind = "burst"
count = 4
size = "256MiB"
at = 2
spread = 1

[toolstack]
parallel = 4
builder = "hvm-4.17"
pages_per_second = 6000
"""
"""672 MiB are free: of four builds of 256 MiB two fit."""


PATIENCE = 400
"""Real seconds after which something hangs: generous, for nobody knows how slow a machine is."""


ENDS = (Stage.BUILT, Stage.REFUSED, Stage.FAILED)


def wait_until(condition: Callable[[], Any]) -> None:
    """Wait for a condition; tenacity's RetryError when it does not come true."""
    Retrying(retry=retry_if_not_result(bool), stop=stop_after_delay(PATIENCE), wait=wait_fixed(0.01))(
        condition
    )


def write_scenario(folder: Path, text: str = SMALL) -> Path:
    """The scenario as a file."""
    path = folder / "small.toml"
    path.write_text(text, encoding="utf-8")
    return path


def claimlab(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [sys.executable, "-m", "launch", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE, **options)


def run_until(
    over: Callable[[Path], object], run: Path, *arguments: object, seconds: float
) -> subprocess.CompletedProcess[str]:
    """`claimlab run --out RUN`, for as many emulated seconds as it takes.

    Emulated time goes on however long a process is kept waiting by the machine, so a run of `seconds` may end
    before what it is for. It is then made anew, four times as long. What has not come about in a run sixteen
    times as long never will: that run is what there is to be looked at.
    """
    for length in (seconds, 4 * seconds, 16 * seconds):
        if run.exists():
            shutil.rmtree(run)
        done = claimlab("run", *arguments, "--set", f"duration={length}", "--out", run)
        if done.returncode or over(run):
            break
    return done


def ended(launches: int) -> Callable[[Path], bool]:
    """Whether the first so many launches of every scheme of a run have been built, refused or have failed."""

    def look(run: Path) -> bool:
        hosts = [path.parent for path in run.rglob("journal.msgpack")]
        found = [{one.order for one in read_outcomes(host) if one.stage in ENDS} for host in hosts]
        return bool(found) and all(orders >= set(range(1, launches + 1)) for orders in found)

    return look


def begin(*arguments: object) -> subprocess.Popen[str]:
    """Start the command and return at once."""
    command = [sys.executable, "-m", "launch", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def recorded(run: Path) -> list[dict[str, Any]]:
    """Every process that the run recorded."""
    path = run / "pids.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def pid_of(run: Path, role: str) -> int | None:
    """The pid recorded for a role."""
    return next((entry["pid"] for entry in recorded(run) if entry["role"] == role), None)


def still_there(run: Path) -> list[dict[str, Any]]:
    """Recorded processes that live on, told by pid and start time."""
    return [entry for entry in recorded(run) if start_time(entry["pid"]) == entry["start_time"]]


def summary(run: Path) -> dict[str, Any]:
    """summary.json."""
    content: dict[str, Any] = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    return content
