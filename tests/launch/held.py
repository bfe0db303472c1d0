"""A small scenario in which two guests grow at second 10 and a launch comes at second 15.

The holds make an order certain: the toolstack sets no limit before both guests are about to grow, and they do
not before it has.
"""

HELD = """
name = "held"
speed = 20
duration = 40
schemes = ["clamp"]

[host]
memory = "512MiB"
dom0 = "64MiB"
xen = "32MiB"

[guests]
count = 2
memory = "64MiB"
max = "160MiB"
workload = [{ kind = "square", low = "64MiB", high = "150MiB", period = 200, duty = 0.5, phase = 0.95 }]

[arrivals]
kind = "list"
size = "150MiB"
at = [15]

[toolstack]
pages_per_second = 6000
"""
HOLDS = """
[[holds]]
party = "toolstack"
at = "sampled"
until = "guest-1:before-populate"

[[holds]]
party = "toolstack"
at = "sampled"
until = "guest-2:before-populate"

[[holds]]
party = "guest-1"
at = "before-populate"
until = "toolstack:clamped"

[[holds]]
party = "guest-2"
at = "before-populate"
until = "toolstack-0:clamped"
"""
