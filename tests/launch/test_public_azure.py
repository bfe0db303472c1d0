"""Azure V1 replay over the published files."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from launch.arrivals.arrival import Arrival
from launch.arrivals.azure import Thinning, azure
from launch.arrivals.azure_files import find_streams, read_flavours, read_intervals
from launch.arrivals.azure_lines import read_bins

GIB = 262_144


@pytest.fixture
def published(shared: Path) -> Path:
    return shared / "traces" / "azure-v1-arrivals"


def test_every_vm_of_dev_and_test_has_a_lifetime(published: Path) -> None:
    """669,435 VMs over dev and test, in bins of 5 minutes, the largest batch 1,404."""
    bins = [(b.second, [len(batch) for batch in b.batches]) for b in read_bins(find_streams(published))]
    sizes = [size for _, batches in bins for size in batches]
    assert sum(sizes) == 669_435
    assert max(sizes) == 1_404
    assert (bins[0][0], bins[-1][0], len(bins)) == (1_800_000, 2_591_100, 2_638)
    assert all(later - earlier == 300 for (earlier, _), (later, _) in pairwise(bins))


def test_the_tables_are_read_whole(published: Path) -> None:
    """16 flavours of 0.75 to 112 GiB, 46 lifetime intervals that leave no gap up to 20 days."""
    stream = find_streams(published)[0]
    pages = [size.pages for size in read_flavours(stream.flavours).values()]
    assert (len(pages), min(pages), max(pages)) == (16, GIB * 3 // 4, 112 * GIB)
    intervals = [bounds for _, bounds in sorted(read_intervals(stream.intervals).items())]
    assert len(intervals) == 46
    assert all(earlier[1] == later[0] for earlier, later in pairwise(intervals))
    assert (intervals[0][0], intervals[-1][1]) == (0, 20 * 86_400 + 300)


def launches(published: Path, seed: int) -> list[Arrival]:
    return list(azure(published, Random(seed), Thinning(keep=0.003, batch_pages=64 * GIB)))


def test_three_in_a_thousand_batches_make_some_hundred_launches(published: Path) -> None:
    """At p = .003 and batches of at most 64 GiB some 700 to 1,000 launches in 9 days keep their bursts."""
    arrivals = launches(published, 1)
    assert 700 < len(arrivals) < 1_000
    batches = Counter(arrival.batch for arrival in arrivals)
    assert max(batches.values()) > 10
    by_batch: Counter[int] = Counter()
    for arrival in arrivals:
        by_batch[arrival.batch] += arrival.pages
    assert max(by_batch.values()) <= 64 * GIB


def test_a_day_from_the_middle_holds_at_least_fifty_launches(published: Path) -> None:
    """A window of one day of v1.test at p = .003 gives at least 50 launches, all inside it."""
    arrivals = list(azure(published, Random(1), Thinning(0.003, 64 * GIB), start=2_100_000, length=86_400))
    assert len(arrivals) >= 50
    assert all(0 <= arrival.t < 86_400 for arrival in arrivals)
