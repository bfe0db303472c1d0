"""Links that delay, lose, duplicate and reorder: what becomes of each Call, Answer and refusal on them.

Hellos, pings and events pass unharmed: nothing in the protocol would send them again, so a link that lost
them would be a broken one and not a bad one.
"""

from __future__ import annotations

import random
from typing import Final

from msgspec import Struct

from hypervisor.public.units import Seconds

CALL_TAG: Final = 2
ANSWER_TAGS: Final = (2, 3)
"""Answer and Refused."""
REORDER_LEAST: Final[Seconds] = 0.001


class BadLinkSpec(Struct, frozen=True):
    """One party's link, alike both ways; shares are of messages, times emulated seconds."""

    seed: str
    delay: Seconds = 0.0
    """One way."""
    jitter: Seconds = 0.0
    """Up to this much more, evenly distributed; it changes no order."""
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    """Share delayed further, by 1 to 3 times delay + jitter and at least 1 ms, and so overtaken."""
    resend: Seconds = 0.1
    """Silence after which a Call is sent again; doubled each time."""


class BadLink:
    """One direction of one link. It draws from its own stream, and knows no clock."""

    def __init__(self, spec: BadLinkSpec, direction: str) -> None:
        self._spec = spec
        self._rng = random.Random(f"{spec.seed}/{direction}")
        self._last: Seconds = 0.0

    def fates(self, now: Seconds) -> tuple[Seconds, ...]:
        """When a message sent now arrives: not at all, once, or twice."""
        spec, rng = self._spec, self._rng
        if rng.random() < spec.loss:
            return ()
        copies = 2 if rng.random() < spec.duplicate else 1
        return tuple(self._arrival(now) for _ in range(copies))

    def _arrival(self, now: Seconds) -> Seconds:
        spec, rng = self._spec, self._rng
        when = now + spec.delay + spec.jitter * rng.random()
        if rng.random() < spec.reorder:
            return when + (1 + 2 * rng.random()) * max(spec.delay + spec.jitter, REORDER_LEAST)
        self._last = max(self._last, when)
        return self._last


def is_call(frame: bytes) -> bool:
    """Whether a frame to the hypervisor is a Call. It is an array of fewer than 16, the tag first."""
    return len(frame) > 1 and frame[1] == CALL_TAG


def is_answer(frame: bytes) -> bool:
    """Whether a frame from the hypervisor answers or refuses a Call."""
    return len(frame) > 1 and frame[1] in ANSWER_TAGS
