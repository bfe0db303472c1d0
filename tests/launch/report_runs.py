"""A run for tests of the page and the trace: four builds race for room that two fill, in virtual time."""

from __future__ import annotations

from pathlib import Path

from tests.launch.cluster_runs import claimlab

TINY = """
name = "tiny"
speed = 20
duration = 20
schemes = ["naive", "claim", "clamp"]

[host]
memory = "52MiB"
dom0 = "8MiB"
xen = "8MiB"

[guests]
count = 3
memory = "4MiB"
max = "6MiB"
headroom = 1.05
swap = "1MiB"
workload = [{ kind = "sine", mean = "3500KiB", amplitude = "1500KiB", period = 8 }]

[arrivals]
kind = "burst"
count = 4
size = "10MiB"
at = 2
spread = 1

[toolstack]
parallel = 4
builder = "pv-4.17"
pages_per_second = 400
"""


def simulated(folder: Path, *arguments: object, name: str = "run") -> Path:
    """`claimlab simulate` of it, kept in `folder`."""
    scenario = folder / "tiny.toml"
    scenario.write_text(TINY, encoding="utf-8")
    out = folder / name
    done = claimlab("simulate", scenario, "--out", out, *arguments)
    assert done.returncode == 0, done.stderr
    return out
