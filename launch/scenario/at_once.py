"""Several toolstacks of different schemes at work on one host at once: "clamp+claim"."""

from __future__ import annotations

from typing import Final

AT_ONCE: Final = "+"


def schemes_at_once(entry: str) -> tuple[str, ...]:
    """The schemes in one entry of `schemes`: one, or all those that run side by side, in that order.

    Toolstack 0 runs the first, toolstack 1 the second and so on, `toolstack.count` of each; orders go round.
    """
    return tuple(entry.split(AT_ONCE))


def scheme_of(entry: str, number: int) -> str:
    """The scheme of toolstack `number`, counted from 0."""
    schemes = schemes_at_once(entry)
    return schemes[number % len(schemes)]
