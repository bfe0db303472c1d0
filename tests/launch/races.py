"""A tiny scenario in which a guest takes what a launch was promised; its holds make it certain."""

from __future__ import annotations

from toolstack.interface import Launch, Scheme, read_host

RACE = """
name = "race"
speed = 20
duration = 12
schemes = ["naive"]

[host]
memory = "24MiB"
dom0 = "8MiB"
xen = "8MiB"

[guests]
count = 1
kind = "pv"
memory = "1280KiB"
max = "6MiB"
workload = [{ kind = "square", low = "1280KiB", high = "5MiB", period = 200, duty = 0.5, phase = 0.975 }]

[arrivals]
kind = "list"
size = "5MiB"
at = [8]

[toolstack]
builder = "pv-4.17"
pages_per_second = 6000
"""
HOLDS = """
[[holds]]
party = "guest-1"
at = "before-populate"
until = "toolstack:created"

[[holds]]
party = "toolstack"
at = "created"
until = "guest-1:populated"
"""
CALM = RACE.replace('high = "5MiB"', 'high = "1280KiB"')
"""The guest asks for nothing, and the launch is built."""


class Yes(Scheme):
    """Admits whatever comes and looks at nothing that would tell."""

    async def admit_before_create(self, launch: Launch) -> bool:
        """One look, for the record."""
        await read_host(launch.world)
        return True


SAMPLED = HOLDS.replace("created", "sampled")
"""The same for `clamp`: the guest comes between its sample and its limits (item 4 of the e-mail)."""
