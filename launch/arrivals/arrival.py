"""One guest to be launched."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request for a guest, before any toolstack has seen it.

    t: emulated second since the start of the experiment.
    pages: memory wanted.
    vcpus: virtual CPUs wanted.
    lifetime: emulated seconds from launch to destruction; None lives to the end of the experiment.
    batch: guests of the same number were asked for together by one tenant.
    """

    t: float
    pages: int
    vcpus: int
    lifetime: float | None
    batch: int


@dataclass(frozen=True, slots=True)
class Size:
    """A flavour of guest: memory in pages, and virtual CPUs."""

    pages: int
    vcpus: int
