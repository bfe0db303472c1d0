"""Sending Calls again over a link that loses: under their old seq, so that none is run twice.

ZeroMQ loses nothing while a connection lives, so only bad links (`bad_link`) need this.
"""

from __future__ import annotations

from typing import Final

from hypervisor.public.units import Seconds
from hypervisor.session.client import CallKey, ClientSession, Indefinite

MOST: Final = 8
"""Times a Call is sent again before it counts as indefinite."""


class Resends:
    """The Calls of one `ClientSession` that wait for an answer, and since when."""

    def __init__(self, session: ClientSession, patience: Seconds) -> None:
        """`patience`: emulated seconds before the first resend; doubled for each further one."""
        self._session = session
        self._patience = patience
        self._tries: dict[CallKey, tuple[int, Seconds]] = {}
        """How often sent again, and when it is due next."""
        self._silence = patience * (2 ** (MOST + 1) - 1)

    def look(self, now: Seconds) -> list[Indefinite]:
        """Queue what is due to be sent again; give up what has been sent often enough."""
        given_up: list[Indefinite] = []
        waiting = self._session.unanswered()
        known, self._tries = self._tries, {}
        for key in waiting:
            tries, due = known.get(key, (0, now + self._patience))
            if due <= now and tries >= MOST:
                text = f"no answer to {tries + 1} copies of the Call in {self._silence:g} s"
                given_up.append(self._session.abandon(key, f"{text}: it may or may not have happened"))
                continue
            if due <= now:
                self._session.resend(key)
                tries += 1
                due = now + self._patience * 2**tries
            self._tries[key] = tries, due
        return given_up

    def next_look(self) -> Seconds | None:
        """When something is due; None while nothing waits."""
        return min((due for _, due in self._tries.values()), default=None)
