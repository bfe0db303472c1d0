"""A host's evidence from where it lies: the folder of a run, or files in memory."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec

from guests.process import read_reports
from guests.report import REPORT
from launch.judge.judge import HostEvidence
from launch.records import (
    ORDERS,
    OUTCOMES,
    orders_of,
    outcomes_of,
    read_orders,
    read_outcomes,
)


def folder_evidence(folder: Path) -> HostEvidence:
    """What stands beside a journal in RUN/<scheme>/<repeat>/<host>/. Raises an `EvidenceFault`."""
    return HostEvidence(read_orders(folder), read_outcomes(folder), read_reports(folder / "guests"))


def files_evidence(files: Mapping[str, bytes]) -> HostEvidence:
    """The same from contents by name relative to the host's folder, as a virtual run keeps them."""
    reports = [
        REPORT.decode(content)
        for name, content in sorted(files.items())
        if name.startswith("guests/guest-") and name.endswith(".json")
    ]
    return HostEvidence(orders_of(files.get(ORDERS, b"")), outcomes_of(files.get(OUTCOMES, b"")), reports)


def journal_stream(files: Mapping[str, bytes]) -> BinaryIO:
    """The journal among them. KeyError when there is none."""
    return io.BytesIO(files["journal.msgpack"])


EvidenceFault = (msgspec.DecodeError, UnicodeDecodeError)
"""What the readers raise for files that no run wrote."""
