"""What a 64-GiB host costs in the memory of one process, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

IDLE = """
from hypervisor.core.heap.buddy import FrameHeap
from hypervisor.core.heap.frames import FREE, FrameTable
from hypervisor.core.heap.p2m import PhysMap

HOST = 1 << 24
heap, frames = FrameHeap([(0, HOST)]), FrameTable()
maps = [PhysMap() for _ in range(300)]
"""

POPULATE = """
cursors = [0] * len(maps)
while heap.total_avail:
    for domain, p2m in enumerate(maps):
        for gfn in range(cursors[domain], cursors[domain] + min(512, heap.total_avail)):
            mfn = heap.take(0, (0,))
            frames.set_owner(mfn, 0, domain + 1, FREE)
            p2m.map(gfn, mfn, 0)
            cursors[domain] = gfn + 1
assert sum(p2m.entries for p2m in maps) == HOST

for domain, p2m in enumerate(maps):
    for gfn in range(0, cursors[domain], 2):
        mfn = p2m.unmap(gfn)
        frames.set_owner(mfn, 0, FREE, domain + 1)
        heap.give(mfn, 0)
assert heap.total_avail * 2 == HOST and heap.largest_free_order() == 0
assert sum(frames.held(domain + 1) for domain in range(len(maps))) * 2 == HOST
"""

REPORT = """
for line in open("/proc/self/status"):
    if line.startswith(("VmRSS:", "VmHWM:")):
        print(*line.split()[:2])
"""


def peak_and_resident_kib(script: str) -> tuple[int, int]:
    """VmHWM and VmRSS in KiB of a new process at the end of the script."""
    done = subprocess.run(
        [sys.executable, "-c", script + REPORT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    figures = dict(line.split() for line in done.stdout.splitlines())
    return int(figures["VmHWM:"]), int(figures["VmRSS:"])


def test_an_idle_host_is_small() -> None:
    """An idle 64-GiB host with 300 empty domains stays under 100 MiB."""
    peak, _ = peak_and_resident_kib(IDLE)
    assert peak < 100 * 1024


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_fragmented_host_fits() -> None:
    """64 GiB in 300 domains, populated at order 0, every second page freed: never over 400 MiB."""
    peak, resident = peak_and_resident_kib(IDLE + POPULATE)
    print(f"peak {peak // 1024} MiB, resident {resident // 1024} MiB")
    assert peak < 400 * 1024
