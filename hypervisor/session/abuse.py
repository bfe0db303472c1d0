"""Connections that send in numbers what no party sends."""

from __future__ import annotations

from typing import Final

from hypervisor.public.errors import WireError
from hypervisor.session.speakers import Role

ABUSES: Final = frozenset(
    {
        WireError.MALFORMED,
        WireError.OVERSIZED,
        WireError.BAD_SECRET,
        WireError.NOT_PERMITTED,
        WireError.NO_CREDIT,
    }
)
"""Refusals that a party which keeps to the protocol hardly ever meets, and never in numbers."""
MOST_ABUSES: Final = 256
"""Of one connection between two amnesties: what it sends from then on is not even read."""

Connection = tuple[Role, bytes]


class Abuse:
    """Counts refusals by connection."""

    def __init__(self, most: int = MOST_ABUSES) -> None:
        """`most` refusals of a connection between two amnesties, and it is muted."""
        self._most = most
        self._counts: dict[Connection, int] = {}
        self.muted: set[Connection] = set()
        """Who is not read any more."""

    def refused(self, role: Role, routing: bytes, error: WireError, size: int = 0) -> None:
        """A message of that connection was refused; of `size` bytes, it counts once more for each KiB."""
        if error not in ABUSES:
            return
        count = self._counts[role, routing] = self._counts.get((role, routing), 0) + 1 + size // 1024
        if count >= self._most:
            self.muted.add((role, routing))

    def amnesty(self) -> None:
        """Everybody is read again. To be called a few times a second."""
        self._counts.clear()
        self.muted.clear()
