"""The `workload` mix: kinds of memory demand, each drawn with its weight (see guests/workloads.py)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from launch.scenario.sizes import PositiveSize, Size
from launch.scenario.table import PositiveSeconds, Table

Phase = Literal["random"] | Annotated[float, Field(ge=0, le=1)]
"""Fraction of a period by which the wave is ahead; "random" draws one for each guest."""


class Weighted(Table):
    """A kind of demand; weight / sum of weights is the share of the guests that are of this kind."""

    weight: Annotated[float, Field(gt=0)] = 1.0


class ConstantDemand(Weighted):
    """Always `pages`; without it the domain's start memory, so that it never balloons."""

    kind: Literal["constant"]
    pages: Size | None = None


class SineDemand(Weighted):
    """The seed's worst-case domain. At phase 0.75 a guest starts at its trough."""

    kind: Literal["sine"]
    mean: PositiveSize
    amplitude: Size
    period: PositiveSeconds
    phase: Phase = "random"

    @model_validator(mode="after")
    def amplitude_within_mean(self) -> Self:
        if self.amplitude > self.mean:
            raise ValueError("amplitude is above mean, so demand would fall below 0: lower amplitude")
        return self


class SquareDemand(Weighted):
    """`high` for the first `duty` (a fraction) of every period, `low` for the rest."""

    kind: Literal["square"]
    low: Size
    high: PositiveSize
    period: PositiveSeconds
    duty: Annotated[float, Field(ge=0, le=1)] = 0.5
    phase: Phase = "random"

    @model_validator(mode="after")
    def low_below_high(self) -> Self:
        if self.low > self.high:
            raise ValueError("low is above high: exchange the two")
        return self


class RandomWalkDemand(Weighted):
    """Every `interval` seconds at most `step` up or down, between reflecting walls."""

    kind: Literal["random-walk"]
    low: Size
    high: PositiveSize
    step: PositiveSize
    interval: PositiveSeconds
    start: Size | None = None  # None is the middle

    @model_validator(mode="after")
    def walls_in_order(self) -> Self:
        if not self.low <= self.first <= self.high:
            raise ValueError("the walk must begin between its walls: make low <= start <= high")
        return self

    @property
    def first(self) -> int:
        """Pages at second 0."""
        return (self.low + self.high) // 2 if self.start is None else self.start


class ReplayDemand(Weighted):
    """A window of the recorded memory use in `guests.trace`; `after` says what follows it."""

    kind: Literal["replay"]
    floor: Size = 0
    speedup: PositiveSeconds = 1.0
    after: Literal["hold", "loop"] = "hold"


Demand = Annotated[
    ConstantDemand | SineDemand | SquareDemand | RandomWalkDemand | ReplayDemand,
    Field(discriminator="kind"),
]
Kind = (
    type[ConstantDemand] | type[SineDemand] | type[SquareDemand] | type[RandomWalkDemand] | type[ReplayDemand]
)


def demand_table(kind: str) -> Kind | None:
    """The table of a workload kind, None for an unknown one."""
    tables: tuple[Kind, ...] = (ConstantDemand, SineDemand, SquareDemand, RandomWalkDemand, ReplayDemand)
    return next((table for table in tables if kind in _kinds_of(table)), None)


def _kinds_of(table: Kind) -> tuple[object, ...]:
    annotation = table.model_fields["kind"].annotation
    return tuple(getattr(annotation, "__args__", ()))
