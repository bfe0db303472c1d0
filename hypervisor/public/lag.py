"""How late a process woke up, as it tells at its end."""

from __future__ import annotations

from msgspec import Struct

from hypervisor.public.units import Seconds


class Lag(Struct, frozen=True):
    """Of one process, real seconds that it woke up too late."""

    p99_s: Seconds = 0.0  # rounded up by an eighth at most, and not beyond the maximum
    max_s: Seconds = 0.0
    count: int = 0  # sleeps
