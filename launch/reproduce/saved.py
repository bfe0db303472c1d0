"""What a reproduction leaves beside its run: enough to show it again."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from hypervisor.public.units import Commit
from launch.errors import UsageError
from launch.reproduce.witness import Witness

FORMAT: Final = "claimlab-reproduced"


class Saved(Struct, frozen=True, kw_only=True):
    """reproduced-N.json."""

    format: str = FORMAT
    version: int = 1
    witness: Witness
    before: Commit
    """The stretch begins behind this commit, with nothing under way."""
    end: Commit
    by_scheme: bool
    """Launches are played by the scheme that ran; otherwise by what they did."""
    at_once: bool
    """Builds by a scheme take no emulated time, and so one populate call for each kind of extent."""
    schedule: str
    """As `launch.explore.schedule` writes it; the parties follow from the stretch."""
    violation: str
    detail: str


def save(path: Path, saved: Saved) -> None:
    """Write it. UsageError where nothing can be written."""
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(saved)) + b"\n")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}: name another place with --out") from error


def load(path: Path) -> Saved:
    """Read it. UsageError for what is none."""
    try:
        saved = msgspec.json.decode(path.read_bytes(), type=Saved)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}: name a file that claimlab reproduce left") from error
    except msgspec.DecodeError as error:
        raise UsageError(f"{path}: {error}: name a file that claimlab reproduce left") from error
    if (saved.format, saved.version) != (FORMAT, 1):
        raise UsageError(f"{path}: no {FORMAT} of version 1: name a file that claimlab reproduce left")
    return saved
