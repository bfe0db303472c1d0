"""Who has fallen silent. It frees nothing: Xen does not free a domain whose kernel hangs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hypervisor.session.speakers import Note, Peer, peer_fields

ABSENT_MS: Final = 1000
"""Leases are looked at ten times a second: after a gap this long it was this process that was stopped."""


class Leases:
    """When peers were heard last, and who has been told silent."""

    def __init__(self, lease_ms: int) -> None:
        """Real milliseconds; 0 switches leases off."""
        self._lease_ms = lease_ms
        self._looked = 0  # when they were checked last, real ms

    def check(self, peers: Iterable[Peer], now: int) -> list[Note]:
        """A note for each that has been silent for too long since the last check."""
        if self._lease_ms == 0:
            return []
        absent, self._looked = now - self._looked > max(self._lease_ms, ABSENT_MS), now
        notes: list[Note] = []
        for peer in peers:
            if absent:
                peer.heard = now  # it is we who were stopped: nobody could be heard
            if not peer.silent and now - peer.heard > self._lease_ms:
                notes.append(silence(peer, True, now))
        return notes


def silence(peer: Peer, silent: bool, now: int) -> Note:
    """Mark the peer silent, or not any more; the note that says so."""
    peer.silent = silent
    return Note("silent" if silent else "heard-again", now, peer_fields(peer))
