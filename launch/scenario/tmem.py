"""What a scenario with tmem needs: a release that has it, a host that has it on, guests that can use it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from launch.scenario.complaints import Fault
from launch.scenario.models import GuestsTable, Scenario

TMEM_RELEASES: Final = ("4.3", "4.12")
"""Releases whose hypervisor has tmem (T1)."""


def tmem_faults(scenario: Scenario) -> Iterator[Fault]:
    """Every contradiction about tmem, each with the key to change."""
    if scenario.host.tmem and scenario.release not in TMEM_RELEASES:
        cure = " or ".join(f'release = "{name}"' for name in TMEM_RELEASES)
        yield Fault(("host", "tmem"), f"release {scenario.release} has no tmem: set {cure}")
    if not scenario.host.tmem:
        yield from _needs_tmem(scenario.guests)
    yield from _guests(scenario.guests)


def _needs_tmem(guests: GuestsTable) -> Iterator[Fault]:
    for key in ("selfballoon", "cleancache", "frontswap"):
        if getattr(guests, key):
            yield Fault(("guests", key), "needs tmem: add tmem = true to [host], or leave it out")


def _guests(guests: GuestsTable) -> Iterator[Fault]:
    if guests.cleancache and not guests.files:
        yield Fault(("guests", "cleancache"), 'nothing is read: add files = "64MiB", or leave it out')
    if guests.frontswap and not guests.swap:
        yield Fault(
            ("guests", "frontswap"), 'stands in front of no swap: add swap = "64MiB", or leave it out'
        )
    if guests.selfballoon and not guests.self_sizing:
        yield Fault(
            ("guests", "selfballoon"),
            "self_sizing = false forbids it: remove one of the two",
        )
