"""The reservations that squeezed knows of and Xen does not (Q1). Pure.

login -> reserve_memory -> create the domain -> transfer_reservation_to_domain -> build. What a client has not
transferred dies when it logs in again: that is how squeezed cleans up after a crash of the builder.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypervisor.public.units import Pages
from toolstack.limits import Key


class UnknownReservationError(KeyError):
    """Unknown_reservation: there is none of that number, or it is another client's."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Memory set aside for a domain that does not exist yet."""

    client: str
    pages: Pages


class Reservations:
    """All of them, by number."""

    def __init__(self) -> None:
        self._next = 1
        self._open: dict[int, Reservation] = {}
        self._transferred: dict[Key, Pages] = {}

    def login(self, client: str) -> None:
        """A client has (re)started: what it had reserved and not transferred is given up."""
        self._open = {number: one for number, one in self._open.items() if one.client != client}

    def reserve(self, client: str, pages: Pages) -> int:
        """Enter a reservation whose memory has been found; its number."""
        number = self._next
        self._next += 1
        self._open[number] = Reservation(client, pages)
        return number

    def delete(self, client: str, number: int) -> None:
        """Give it up. Raises `UnknownReservationError`."""
        self._of(client, number)
        del self._open[number]

    def transfer(self, client: str, number: int, domain: Key) -> None:
        """From now on it counts as max(reservation, tot_pages) of that domain, until it boots (Q2)."""
        self._transferred[domain] = self._of(client, number).pages
        del self._open[number]

    def forget(self, domain: Key) -> None:
        """The domain has booted or is gone."""
        self._transferred.pop(domain, None)

    def of_domain(self, domain: Key) -> Pages:
        """The initial reservation of a domain, 0 when none was transferred to it."""
        return self._transferred.get(domain, 0)

    @property
    def open_pages(self) -> Pages:
        """Reserved and not transferred: get_host_reserved_memory without the pool."""
        return sum(one.pages for one in self._open.values())

    def _of(self, client: str, number: int) -> Reservation:
        found = self._open.get(number)
        if found is None or found.client != client:
            raise UnknownReservationError(number)
        return found
