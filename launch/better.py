"""Which end of a figure is the better one, said where the figure is declared."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Annotated, TypeAlias, TypeVar, get_args, get_type_hints

from msgspec import Struct

T = TypeVar("T")


class Better(Enum):
    """Of a figure that is neither, somebody has to say what it is to be chosen for."""

    HIGHER = "higher"
    LOWER = "lower"


Higher: TypeAlias = Annotated[T, Better.HIGHER]
"""A field of which more is better."""
Lower: TypeAlias = Annotated[T, Better.LOWER]
"""A field of which less is better; of amounts by cause, of each."""


def better_ends(row: type[Struct]) -> Iterator[tuple[str, Better]]:
    """The fields of a row of figures that have a better end, in the order of their declaration."""
    for name, declared in get_type_hints(row, include_extras=True).items():
        for one in get_args(declared)[1:]:
            if isinstance(one, Better):
                yield name, one
