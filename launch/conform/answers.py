"""Answers as libxc's callers see them."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Answer:
    """What the recording program saw of one call."""

    ret: int
    errno: int = 0
    done: int = 0
    """populate_exact: extents done."""
    nr_exchanged: int = 0
    """exchange: input extents exchanged."""
    figures: Mapping[str, int | str] = field(default_factory=dict[str, int | str])
    """What more a tmem operation told: results by answer, content read, lines of a listing."""


def as_c_int(value: int) -> Answer:
    """A hypercall's value after the ioctl, which is a C int: a number, or -1 and errno.

    So maximum_reservation of a domain at UINT_MAX is -1 and EPERM.
    """
    low = value & 0xFFFF_FFFF
    number = low - (1 << 32) if low >> 31 else low
    return Answer(-1, -number) if number < 0 else Answer(number)
