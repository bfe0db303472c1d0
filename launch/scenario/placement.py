"""[placement]: on which of several hosts a launch is tried, and what follows when that came to nothing."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from launch.scenario.table import Count, PositiveSeconds, Seconds, Table, Tuple

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""Names become folders: a letter or digit first keeps "..", hidden folders and options out."""


class PlacementTable(Table):
    """[placement]: several hosts: where a launch goes, and where next after a refusal or a late failure.

    first-fit: the first host, in the file's order, whose last answer had room; most-free: the one whose last
    answer was the largest; random: any; alternates: those of a list, in its order. An answer is free memory
    beside claims when the host was last asked. No host is tried again by a launch before all have been.
    """

    policy: Literal["first-fit", "most-free", "random", "alternates"] = "first-fit"  # how a host is chosen
    alternates: Tuple[Name] = ()  # hosts by name; others get no launch
    sample: PositiveSeconds = 10.0  # first-fit, most-free: between two questions for a host's free memory
    attempts: Count = 3  # of one launch, the first included; then it is given up
    wait: Seconds = 1.0  # before the second attempt; before each further one twice as long
    wait_max: Seconds = 60.0  # but never longer than this
    jitter: Seconds = 1.0  # up to this much more, evenly distributed
