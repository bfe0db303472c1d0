"""Small real runs of `claimlab run` for tests, as a user starts them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tenacity import Retrying, retry_if_not_result, stop_after_delay, wait_fixed

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


def wait_until(condition: Callable[[], Any]) -> None:
    """Wait for a condition; tenacity's RetryError when it does not come true."""
    Retrying(retry=retry_if_not_result(bool), stop=stop_after_delay(60), wait=wait_fixed(0.01))(condition)


def write_scenario(folder: Path, text: str = SMALL) -> Path:
    """The scenario as a file."""
    path = folder / "small.toml"
    path.write_text(text, encoding="utf-8")
    return path


def claimlab(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [sys.executable, "-m", "launch", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=110, **options)


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
