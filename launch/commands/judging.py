"""Judging at the end of a run: what `claimlab run` and `claimlab simulate` do beside their own table."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated, Final, TypeAlias

import typer

from launch.errors import UsageError
from launch.judge.report import RunJudgement
from launch.judge.run import journal_bytes, judge_run_folder, to_document
from launch.results import Results

JUDGED_AT_ONCE: Final = 16 << 20
"""Bytes of journals, some 900,000 steps, up to which a run judges itself: about 2 s for each 100,000."""
JudgeOption: TypeAlias = Annotated[
    bool | None,
    typer.Option("--judge/--no-judge", help="Judge the run; by default if its journals are small."),
]


def judged(results: Results, judge: bool | None, progress: Callable[[str], None]) -> RunJudgement | None:
    """Judge it and leave judge.json; None when it is not to be, or a journal that broke off cannot be."""
    if judge is False:
        return None
    if judge is None and journal_bytes(results.path) > JUDGED_AT_ONCE:
        progress(f"not judged, the journals are long: claimlab judge {results.path}")
        return None
    try:
        judgement = judge_run_folder(results.path, os.cpu_count() or 1, progress)
    except UsageError as error:
        progress(f"not judged: {error}")
        return None
    results.write_judgement(to_document(judgement))
    return judgement
