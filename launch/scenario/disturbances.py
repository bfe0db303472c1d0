"""[[holds]], [[faults]] and [links]: what a scenario does to its parties and their messages.

A party is "toolstack-0" (counted from 0; "toolstack" is the first), "guest-3" (the third guest, counted from
1), "launch-2" (the guest that the second launch order became) or "hypervisor"; of several hosts each with its
host: "host1/guest-3". A point is a name of
`hypervisor.public.points.POINTS`, or one that a plug-in announces.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from launch.scenario.table import PositiveSeconds, Seconds, Table

_HOST = r"([A-Za-z0-9][A-Za-z0-9._-]*/)?"
PARTY: Final = rf"^{_HOST}(toolstack(-\d+)?|guest-[1-9]\d*|launch-[1-9]\d*|hypervisor)$"
POINT: Final = r"^[a-z][a-z0-9-]*$"
ELSEWHERE: Final = rf"^{_HOST}(toolstack(-\d+)?|guest-[1-9]\d*|launch-[1-9]\d*):[a-z][a-z0-9-]*$"
Party = Annotated[str, Field(pattern=PARTY)]
Point = Annotated[str, Field(pattern=POINT)]
Elsewhere = Annotated[str, Field(pattern=ELSEWHERE)]
Share = Annotated[float, Field(ge=0, lt=1)]


class HoldTable(Table):
    """[[holds]]: a party stands still at one of its points until another has come to one of its own."""

    party: Party
    at: Point  # where it is held; the first time it comes there is the one that counts
    until: Elsewhere  # "toolstack-0:clamped"; if that has happened already, nobody is held
    after: Seconds = 0.0  # arrivals before this second are let pass


class FaultTable(Table):
    """[[faults]]: something is done to a party, once."""

    kind: Literal["kill", "pause", "resume", "restart"]  # SIGKILL, SIGSTOP, SIGCONT, SIGKILL and up again
    party: Party
    at: Seconds | Elsewhere | Point  # a second, a point of its own, or another party's point
    after: Seconds = 0.0  # own point: arrivals before this second are let pass
    seconds: PositiveSeconds | None = None  # pause: its length; restart: how long it is down (None is 0)


class LinksTable(Table):
    """[links]: what messages between a party and the hypervisor suffer, both ways; shares are of messages."""

    delay: Seconds | None = None  # one way; None is nothing on real links and 50 us on virtual ones
    jitter: Seconds = 0.0  # up to this much more, evenly distributed
    loss: Share = 0.0
    duplicate: Share = 0.0  # sent twice
    reorder: Share = 0.0  # overtaken: delayed by a further 1 to 3 x (delay + jitter), at least 1 ms
    parties: Annotated[tuple[Party, ...], Field(strict=False)] = ()  # whose links; empty is everybody's
