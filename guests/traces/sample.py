"""What every memory trace is read into, and the units it is scaled to."""

from __future__ import annotations

from dataclasses import dataclass

PAGES_PER_GIB = 262_144
"""Pages of 4 KiB in one GiB."""

PAGE_KIB = 4
"""KiB in one page."""

MACHINE_PAGES = 256 * PAGES_PER_GIB
"""Pages of Borg's largest machine, to which the trace's fractions refer. Google does not publish it; 256 GiB
gives the sampled instances limits of 0.7 to 6.5 GiB."""


@dataclass(frozen=True, slots=True)
class MemorySample:
    """One row of a trace.

    t: seconds from the first row of the file.
    used: pages in use, the mean over the sampling interval.
    peak: most pages in use at once in the interval (the mean again where the trace does not tell).
    provisioned: pages the instance may use; moves in some instances, `used` may exceed it.
    """

    t: float
    used: int
    peak: int
    provisioned: int
