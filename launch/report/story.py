"""What one pass over a journal brings back for the page: curves, bands, and the operations of witnesses."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct

from hypervisor.public.units import Commit, DomId, Pages, Seconds
from launch.judge.cases import Key
from launch.report.curve import Point


class BandKind(StrEnum):
    """Why a domain's account stood out for a while."""

    CLAIM = "claim"  # outstanding_pages above 0
    CLAMP = "clamp"  # max_pages below the highest that the domain has had


class Band(Struct, frozen=True):
    """A stretch of emulated time in which a domain held a claim, or was clamped."""

    kind: BandKind
    domid: DomId
    incarnation: int
    start: Seconds
    end: Seconds
    pages: Pages  # largest claim, or lowest max_pages


class DomainStory(Struct, frozen=True):
    """One chosen domain over time, pages."""

    domid: DomId
    incarnation: int
    label: str
    tot_pages: list[Point]
    max_pages: list[Point]
    outstanding: list[Point]


class Move(Struct):
    """One operation of the journal."""

    number: int
    caller: Key
    text: str  # the request in words
    name: str  # its type
    subject: DomId  # the domain that it is about; -1: none
    first: Commit
    last: Commit = 0  # of its last step seen
    began: Seconds = 0.0  # emulated, to the resolution of the journal's clock
    ended: Seconds = 0.0
    answer: str = ""  # "" while it is under way
    ret: int | None = None
    refused: str = ""  # why an allocation in it was refused
    marks: tuple[Commit, ...] = ()  # steps of it that a witness names
    because: tuple[int, ...] = ()  # operations whose claim or limit stood against it when it was refused


class HostTrace(Struct, frozen=True):
    """Its operations as events of a trace."""

    base: int  # where the numbers of its processes begin
    events: list[dict[str, Any]]
    left_out: int  # operations


class HostStory(Struct, frozen=True):
    """One host."""

    name: str
    end: Seconds
    steps: int
    free: list[Point]
    claims: list[Point]
    capacity: Pages  # RAM of the host
    domains: list[DomainStory]
    bands: list[Band]
    moves: dict[int, Move]  # by operation number
    trace: HostTrace | None = None
    complaint: str = ""  # why the journal ended early, as `claimlab check` would say
