"""Two tiny hosts of which the first is full after two of three launches, and their runs in virtual time."""

from __future__ import annotations

from pathlib import Path

from launch.cluster.cluster_plan import ClusterResult, plan_cluster
from launch.cluster.host_plan import Plugins
from launch.scenario.load import load_scenario
from launch.simulate.hosts_run import run_virtual_hosts
from launch.simulate.links import Links
from tests.launch.cluster_runs import write_scenario

TWO = """
name = "two"
speed = 4
duration = 16
schemes = ["claim"]

[host]
memory = "256MiB"
dom0 = "32MiB"
xen = "32MiB"

[guests]
count = 1
memory = "4MiB"
swap = "4MiB"

[[hosts]]
name = "left"

[[hosts]]
name = "right"
[hosts.guests]
count = 2

[placement]
policy = "alternates"
alternates = ["left", "right"]
wait = 1
jitter = 0

[arrivals]
kind = "list"
size = "80MiB"
at = [1, 1.5, 2]

[toolstack]
builder = "hvm-4.17"
pages_per_second = 6000
"""
"""About 184 MiB are free on each host: two launches of 80 MiB fit, the third does not."""


def simulated(folder: Path, *sets: str, text: str = TWO, place: Path | None = None) -> ClusterResult:
    """One run of the first scheme."""
    scenario = load_scenario(write_scenario(folder, text), sets).scenario
    plan = plan_cluster(scenario, 1, Plugins())

    def kept(host: str) -> Path:
        assert place is not None
        (place / host).mkdir(parents=True)
        return place / host

    return run_virtual_hosts(
        plan, scenario.schemes[0], Links(0.001), None if place is None else kept, evidence=place is not None
    )
