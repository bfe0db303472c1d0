"""A domain's state in the six letters of `xl list`."""

from __future__ import annotations

from hypervisor.public.domctl import (
    DOMINF_BLOCKED,
    DOMINF_DYING,
    DOMINF_PAUSED,
    DOMINF_RUNNING,
    DOMINF_SHUTDOWN,
    DOMINF_SHUTDOWN_SHIFT,
    SHUTDOWN_CRASH,
)


def state_letters(flags: int, is_dying: bool = False) -> str:
    """rbpscd, as xl(1) explains them: running, blocked, paused, shut down, crashed, dying; "-" for not."""
    crashed = bool(flags & DOMINF_SHUTDOWN) and flags >> DOMINF_SHUTDOWN_SHIFT == SHUTDOWN_CRASH
    states = (
        ("r", flags & DOMINF_RUNNING),
        ("b", flags & DOMINF_BLOCKED),
        ("p", flags & DOMINF_PAUSED),
        ("s", flags & DOMINF_SHUTDOWN),
        ("c", crashed),
        ("d", is_dying or flags & DOMINF_DYING),
    )
    return "".join(letter if is_so else "-" for letter, is_so in states)
