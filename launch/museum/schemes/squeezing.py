"""squeezed with a slip: in its books, or in reading what it has set."""

from __future__ import annotations

from typing import Any

from hypervisor.public.units import Pages
from toolstack.limits import Key
from toolstack.squeeze.reservations import Reservations
from toolstack.squeeze.xen import SqueezedXen
from toolstack.squeezed import Squeezed


class ReservedTwice(Squeezed):
    """What is transferred to a domain stays reserved beside (CA-173605)."""

    def __init__(self, parameters: Any) -> None:
        """See `SqueezedParameters`."""
        super().__init__(parameters)
        self._reservations = KeptReservations()


class KeptReservations(Reservations):
    """Both books have it."""

    def transfer(self, client: str, number: int, domain: Key) -> None:
        """Enter it with the domain, and forget to strike it out."""
        self._transferred[domain] = self._of(client, number).pages


class LimitAsRead(Squeezed):
    """max_pages as read is taken for what a guest may use (PR 56: "fix off by 1 MiB")."""

    def __init__(self, parameters: Any) -> None:
        """See `SqueezedParameters`."""
        super().__init__(parameters)
        chosen = self._parameters
        self._xen = MebibyteForgotten(chosen.dynamic_min_percent, chosen.dynamic_max_percent)


class MebibyteForgotten(SqueezedXen):
    """Added for HVM domains when a limit is set, and not taken off when it is read."""

    def _ram_of(self, limit: Pages, hvm: bool) -> Pages:
        return limit
