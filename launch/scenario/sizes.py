"""Amounts of memory as users write them: "512MiB", "16GiB", or a whole number of 4 KiB pages."""

from __future__ import annotations

import re
from fractions import Fraction
from types import MappingProxyType
from typing import Annotated, Final

from pydantic import BeforeValidator

from hypervisor.public.units import KIB_PER_PAGE, Pages

_KIB_PER_UNIT: Final = MappingProxyType({"KiB": 1, "MiB": 1 << 10, "GiB": 1 << 20, "TiB": 1 << 30})
_SIZE: Final = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[A-Za-z]*)")
_CURE: Final = 'write "512MiB", "16GiB" or a whole number of 4 KiB pages'


def parse_size(value: object) -> Pages:
    """Pages in a size; ValueError with the cure for anything that is no whole number of pages, 0 or more."""
    if isinstance(value, int) and not isinstance(value, bool):
        return _not_negative(value)
    if isinstance(value, str):
        return _parse_text(value.strip())
    raise ValueError(f"{value!r} is no size: {_CURE}")


def parse_positive_size(value: object) -> Pages:
    """As `parse_size`, but nothing is not enough."""
    pages = parse_size(value)
    if pages == 0:
        raise ValueError(f"{value!r} is no memory at all: {_CURE}, above 0")
    return pages


def format_size(pages: Pages) -> str:
    """The largest unit that needs at most two decimals: 393216 is "1.5GiB", 1 is "4KiB"."""
    kib = pages * KIB_PER_PAGE
    for unit, factor in reversed(tuple(_KIB_PER_UNIT.items())):
        if kib >= factor and kib * 100 % factor == 0:
            whole, hundredths = divmod(kib * 100 // factor, 100)
            return f"{whole}.{hundredths:02}".rstrip("0").rstrip(".") + unit
    return f"{kib}KiB"


def _not_negative(pages: int) -> Pages:
    if pages < 0:
        raise ValueError(f"{pages} pages are less than nothing: {_CURE}")
    return pages


def _parse_text(text: str) -> Pages:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no size: {_CURE}")
    if not match["unit"]:
        return _whole(Fraction(match["number"]), text)
    if match["unit"] not in _KIB_PER_UNIT:
        raise ValueError(f"{text!r} has no known unit: {_guess(match['number'], match['unit'])}")
    return _whole(Fraction(match["number"]) * _KIB_PER_UNIT[match["unit"]] / KIB_PER_PAGE, text)


def _whole(pages: Fraction, text: str) -> Pages:
    if pages.denominator != 1:
        raise ValueError(f"{text!r} is no whole number of 4 KiB pages: {_CURE}")
    return int(pages)


def _guess(number: str, unit: str) -> str:
    """Units are powers of 1024 and spelt so; "G" and "GB" leave a reader in doubt."""
    for known in _KIB_PER_UNIT:
        if unit[0].upper() == known[0]:
            return f'write "{number}{known}" (units are KiB, MiB, GiB, TiB)'
    return _CURE


Size = Annotated[Pages, BeforeValidator(parse_size)]
"""Pages, 0 or more."""
PositiveSize = Annotated[Pages, BeforeValidator(parse_positive_size)]
"""Pages, 1 or more."""
