"""Which target a guest sets itself: the dynamic allocation of the debate, behind one small interface."""

from typing import Protocol

from hypervisor.public.units import Pages


class Sizing(Protocol):
    """Asked at every tick."""

    def target(self, demand: Pages, current: Pages) -> Pages | None:
        """The balloon target the guest sets itself, in pages; None leaves the target as it is."""
        ...


class FollowDemand:
    """Self-ballooning in its simplest form: demand times `headroom`, between `floor` and `static_max`.

    Without the hysteresis of Linux's xen-selfballoon, the target moves as fast down as up.
    """

    def __init__(self, headroom: float, floor: Pages, static_max: Pages) -> None:
        self._headroom = headroom
        self._floor = floor
        self._static_max = static_max

    def target(self, demand: Pages, current: Pages) -> Pages:
        """Enough for `demand`."""
        return min(self._static_max, max(self._floor, round(demand * self._headroom)))


class FollowToolstack:
    """Nothing but memory/target moves the balloon."""

    def target(self, demand: Pages, current: Pages) -> None:
        """Never one of its own."""
