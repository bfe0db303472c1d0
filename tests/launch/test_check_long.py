"""Checking long runs: the run that the benchmark checks, what stays in memory, refusals that left a trace."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import pytest

from benchmarks.steady import GUESTS, TOOLSTACKS, write_steady_run
from hypervisor.history import HistoryReader, HistoryWriter
from hypervisor.public.memory import ClaimPages, CurrentReservation, PopulatePhysmap
from launch.check.host import JOURNAL, check_host
from tests.launch.journals import HandMade


def test_a_steady_run_is_valid_and_every_answer_is_in_a_history(tmp_path: Path) -> None:
    """The run that the benchmark checks holds, has the length asked for, and leaves nobody out."""
    write_steady_run(tmp_path, 1500)
    report = check_host(tmp_path, "steady", lambda _: None)
    assert (report.findings, report.unknown, report.notes) == ([], "", [])
    assert report.operations == report.returned == 1500
    assert (report.unrecorded, report.indefinite) == (0, 0)
    assert len(list(tmp_path.glob("*.history"))) == GUESTS + TOOLSTACKS


def test_a_reader_holds_as_little_of_a_long_history_as_of_a_short_one() -> None:
    """Four times the records cost a reader no more memory: what it has handed out is forgotten."""

    def peak(records: int) -> int:
        file = io.BytesIO()
        writer = HistoryWriter(file, {}, lambda: 0)
        for seq in range(records):
            writer.invoked(1, 1, seq, (CurrentReservation(1),))
        writer.flush()
        file.seek(0)
        tracemalloc.start()
        try:
            assert sum(1 for _ in HistoryReader(file).contents()) >= records
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(40_000) < 1.1 * peak(10_000)


@pytest.mark.rule("C23", "I9")
def test_a_refusal_that_consumed_a_claim_is_checked_to_the_end(tmp_path: Path) -> None:
    """What a refused populate of 4.22 leaves of its claim is compared, and permitted by its rule."""
    made = HandMade("4.22")
    domain = made.domain(40, 60)
    assert made.do(ClaimPages(domain.domid, 50)).ret == 0
    made.limit(domain, 40)
    before = made.machine.host.outstanding_claims
    assert made.do(PopulatePhysmap(domain.domid, ((500, 1),))).ret == 0
    assert made.machine.host.outstanding_claims == before - 1
    (tmp_path / JOURNAL).write_bytes(made.journal())
    report = check_host(tmp_path, "refused", lambda _: None)
    assert (report.findings, report.unknown) == ([], "")
