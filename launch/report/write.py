"""Pages as files: beside the run, or where the user says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from launch.errors import UsageError
from launch.report.folder import RunFolder
from launch.report.page import report_page

REPORT: Final = "report.html"


def write_report(runs: Sequence[RunFolder], out: Path | None = None) -> Path:
    """One run's page into its folder, that of two into the second one's. UsageError where it cannot be."""
    if out is None:
        name = REPORT if len(runs) == 1 else f"report-against-{runs[0].name}.html"
        out = runs[-1].path / name
    try:
        out.write_text(report_page(runs), encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(
            f"{out}: no folder {out.parent}: make it, or name another file with --out"
        ) from error
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror or error}: name another file with --out") from error
    return out
