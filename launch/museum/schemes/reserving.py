"""squeezed with a slip in its books."""

from __future__ import annotations

from typing import Any

from toolstack.limits import Key
from toolstack.squeeze.reservations import Reservations
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
