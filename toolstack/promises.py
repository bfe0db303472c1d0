"""What one toolstack has promised and not yet taken: its launches under way."""

from __future__ import annotations

from hypervisor.public.units import DomId, Pages
from toolstack.interface import Launch


class Promises:
    """Launches admitted and not yet released."""

    def __init__(self) -> None:
        self._launches: dict[int, Launch] = {}

    def __len__(self) -> int:
        return len(self._launches)

    def add(self, launch: Launch) -> None:
        """The launch has been promised its need."""
        self._launches[launch.order.order] = launch

    def remove(self, launch: Launch) -> bool:
        """The promise is over, kept or not; False when there was none."""
        return self._launches.pop(launch.order.order, None) is not None

    @property
    def pages(self) -> Pages:
        """Pages promised and still to be taken.

        Never too few against a physinfo answered before: what was populated after it is told after it.
        """
        return sum(still_to_take(launch) for launch in self._launches.values())

    @property
    def domids(self) -> frozenset[DomId]:
        """Domains of these launches, as far as they exist."""
        return frozenset(launch.domid for launch in self._launches.values())


def still_to_take(launch: Launch) -> Pages:
    """Xen's own share of a domain is taken before its first page."""
    return launch.pages - launch.populated if launch.populated else launch.need
