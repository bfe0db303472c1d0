"""`make bench` as a machine: nothing here looks at how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.bare import bare_process
from benchmarks.check_length import LENGTHS, QUICK, figures
from benchmarks.core import machine_with
from benchmarks.figures import Figure, Plan, SkippedError, row
from benchmarks.mix import CYCLE, Mix, recorded
from benchmarks.report import BEGIN, END, write_markdown
from hypervisor.core.machine import run_alone
from hypervisor.core.steps import Caller
from hypervisor.public.errors import Errno
from hypervisor.public.tmem import TmemGetPage, TmemPutPage

ROOT = Path(__file__).resolve().parents[1]
FIELDS = {"figure", "anchor", "value", "anchor_value", "ratio", "target", "met"}


def test_a_quick_run_writes_every_field_of_a_row(tmp_path: Path) -> None:
    """One row is measured with its anchor and written as JSON, with the machine it was measured on."""
    out = tmp_path / "latest.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "core", "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    content = json.loads(out.read_text())
    (core,) = content["rows"]
    assert core.keys() >= FIELDS
    assert core["ratio"] == pytest.approx(core["value"] / core["anchor_value"])
    assert core["met"] == (core["ratio"] >= core["target"])
    assert content["machine"]["cpus"] >= 1


def test_rows_about_the_check_are_named_after_what_was_checked() -> None:
    """A quick run measures short journals, and says so."""
    for quick, lengths in ((True, QUICK), (False, LENGTHS)):
        rows = figures(quick)
        assert len(rows) == 3 * len(lengths) - 2
        assert all(any(f" {one:,} " in row.figure for one in lengths) for row in rows)
        assert {row.anchor for row in rows[1:]} >= {f"the same with {lengths[0]:,}"}


def test_a_cost_is_met_from_below_and_a_skipped_row_says_why() -> None:
    """A rate must reach its target and a cost must not pass it; what cannot be measured is no miss."""

    def skipped(_plan: Plan) -> list[tuple[float, float]]:
        raise SkippedError("no such server")

    cost = Figure(
        "c", "c", "a", "us", 1.2, lambda _: iter([(1.0, 1.0), (9.0, 1.0), (1.1, 1.0)]), at_most=True
    )
    assert (row(cost, Plan(3)).ratio, row(cost, Plan(3)).met) == (1.1, True)
    rate = Figure("r", "r", "a", "/s", 1.2, lambda _: iter([(1.1, 1.0)]))
    assert row(rate, Plan(1)).met is False
    absent = row(Figure("s", "s", "a", "/s", 1.0, skipped), Plan(1))  # type: ignore[arg-type]
    assert (absent.met, absent.note) == (None, "no such server")


@pytest.mark.parametrize("mix", [recorded(), recorded().one_page_each()], ids=["recorded", "one page"])
def test_a_cycle_leaves_its_domain_as_it_was(mix: Mix) -> None:
    """After the requests of one cycle, none of them refused, the domain holds what it held before."""
    machine, (identity,) = machine_with(1)
    domain = machine.host.domains[identity.domid]
    before = domain.tot_pages
    requests = mix.cycle(identity)
    assert abs(len(requests) - CYCLE) <= 8
    hits = 0
    for request in requests:
        reply = run_alone(machine, Caller(identity.domid, identity.incarnation), request)
        assert reply.ret == getattr(request, "nr_extents", reply.ret), request
        assert reply.ret >= 0 or (isinstance(request, TmemGetPage) and reply.ret == -Errno.EEMPTY), request
        hits += isinstance(request, TmemGetPage) and reply.ret == 1
    assert domain.tot_pages == before
    assert hits == sum(isinstance(request, TmemPutPage) for request in requests) > 0


def test_the_table_replaces_what_stands_between_the_marks(tmp_path: Path) -> None:
    """Renewing a document's table twice leaves one table and the text around it."""
    document = tmp_path / "page.md"
    document.write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n")
    rate = row(Figure("r", "a rate", "an anchor", "/s", 1.0, lambda _: iter([(2.0, 1.0)])), Plan(1))
    for _ in range(2):
        write_markdown(document, [rate])
    text = document.read_text()
    assert text.startswith("above\n") and text.endswith("below\n") and "old" not in text
    assert text.count("| a rate | an anchor | 2 /s | 1 /s | 2.00 | >= 1 | yes |") == 1


def test_the_performance_page_has_a_place_for_the_table() -> None:
    """docs/performance.md carries the marks between which `make bench` writes."""
    text = (ROOT / "docs" / "performance.md").read_text()
    assert text.count(BEGIN) == text.count(END) == 1


def test_a_bare_process_is_bare() -> None:
    """What starting guests is measured against does not import the benchmarks in each process."""
    code = f"import sys, {bare_process.__module__}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    imported = [
        name for name in ran.stdout.split() if name.startswith(("benchmarks.", "statistics", "launch"))
    ]
    assert imported == ["benchmarks.bare"]
