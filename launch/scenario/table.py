"""What every table of a scenario file has in common."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")


class Table(BaseModel):
    """Unknown keys are errors, values are of the type asked for ("3" is no number), nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]
"""Emulated seconds, 0 or more."""
PositiveSeconds = Annotated[float, Field(gt=0)]
# TOML has arrays only; strict mode would have them stay lists.
Tuple = Annotated[tuple[T, ...], Field(strict=False)]
