"""`claimlab compare`: pairs, intervals, sweeps, and going on where an interruption left it."""

from __future__ import annotations

import io
import json
import os
import signal
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace
from rich.console import Console
from scipy import stats

from hypervisor.public.lag import Lag
from hypervisor.public.orders import Stage
from launch.build import build
from launch.cluster.host_plan import HostResult
from launch.commands.compare import compare
from launch.compare.cell import Cell, Task, distrusted, run_cell
from launch.compare.choice import parse_choice
from launch.compare.folder import HEADER, open_comparison
from launch.compare.report import Column, Comparison
from launch.compare.run import fold
from launch.compare.statistics import difference, estimate
from launch.compare.variants import documented, parse_sweep, parse_sweeps, variants
from launch.errors import UsageError
from launch.judge.figures import figures
from launch.launches import fold as launches_of
from launch.scenario.load import load_scenario
from launch.summary import summarise
from tests.launch.cluster_runs import PATIENCE, begin, claimlab, wait_until
from tests.launch.journals import HandMade
from toolstack.registry import make_scheme, scheme_class

TINY = """
name = "tiny"
speed = 20
duration = 8

[host]
memory = "256MiB"
dom0 = "32MiB"
xen = "16MiB"

[guests]
count = 2
memory = "16MiB"
max = "32MiB"
swap = "8MiB"
[[guests.workload]]
kind = "random-walk"
low = "12MiB"
high = "20MiB"
start = "15MiB"
step = "1MiB"
interval = 1


[arrivals]
kind = "burst"
count = 3
size = "80MiB"
at = 1
spread = 1

[toolstack]
builder = "hvm-4.17"
pages_per_second = 8000
"""
"""About 176 MiB are free: of three builds of 80 MiB two fit."""
TRUTHS = ("true", "false")


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    """The scenario as a file."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY, encoding="utf-8")
    return path


def document(out: Path) -> dict[str, Any]:
    """comparison.json."""
    content: dict[str, Any] = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    return content


def test_columns_share_their_seeds_and_a_second_call_picks_up(scenario: Path, tmp_path: Path) -> None:
    """Differences are paired; a finished cell is not run again; more repeats and schemes may be added."""
    out = tmp_path / "out"
    first = claimlab(
        "compare", scenario, "--scheme", "claim,naive", "--repeats", 2, "--out", out, "--jobs", 1
    )
    assert first.returncode == 0, first.stderr
    assert "naive" in first.stdout and "wasted page-seconds" in first.stdout
    found = document(out)
    claim, naive = found["variants"]
    assert found["baseline"] == "claim" and claim["repeats"] == naive["repeats"] == [1, 2]
    assert claim["figures"]["admitted"]["values"] == [2, 2]
    assert naive["figures"]["admitted"]["values"] == [3, 3]
    assert naive["figures"]["admitted"]["difference"]["estimate"]["mean"] == 1
    assert naive["figures"]["late_failures"]["estimate"]["mean"] >= 1
    assert claim["figures"]["late_failures"]["estimate"]["mean"] == 0
    cells = {path: path.stat().st_mtime_ns for path in out.glob("cells/*/*.json")}
    assert len(cells) == 4
    more = claimlab(
        *("compare", scenario, "--scheme", "claim,naive,clamp", "--repeats", 3, "--out", out, "--json")
    )
    assert more.returncode == 0, more.stderr
    assert json.loads(more.stdout) == document(out)
    assert len(list(out.glob("cells/*/*.json"))) == 9
    assert all(path.stat().st_mtime_ns == before for path, before in cells.items())


def test_a_changed_scenario_is_refused_in_one_line(scenario: Path, tmp_path: Path) -> None:
    """Cells of another scenario, kind of run or folder are not mixed in."""
    out = tmp_path / "out"
    assert open_comparison(load_scenario(scenario), out, real=False) == out
    assert open_comparison(load_scenario(scenario, schemes=["claim"]), out, real=False) == out
    for sets, seed, real, named in (
        (["guests.count=3"], None, False, "guests.count was 2, is 3"),
        ([], 9, False, "seed was 1, is 9"),
        ([], None, True, 'kind was "virtual", is "real"'),
    ):
        with pytest.raises(UsageError, match=named):
            open_comparison(load_scenario(scenario, sets, seed), out, real)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note").touch()
    done = claimlab("compare", scenario, "--out", tmp_path / "full")
    assert done.returncode == 2 and "no comparison" in done.stderr and len(done.stderr.splitlines()) == 1


def test_an_interrupted_comparison_goes_on(scenario: Path, tmp_path: Path) -> None:
    """Ctrl-C in the middle leaves whole cells only, and the next call runs the rest."""
    out = tmp_path / "out"
    arguments = ("compare", scenario, "--scheme", "claim", "--out", out, "--jobs", 1)
    process = begin(*arguments, "--repeats", 1000)
    wait_until(lambda: list(out.glob("cells/*/*.json")))
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode not in (0, 2)
    before = {path: path.stat().st_mtime_ns for path in out.glob("cells/*/*.json")}
    done = len(before)
    assert 1 <= done < 1000
    assert claimlab(*arguments, "--repeats", done + 1).returncode == 0
    assert document(out)["variants"][0]["repeats"] == list(range(1, done + 2))
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_a_sweep_makes_a_column_of_every_value(scenario: Path) -> None:
    """A scheme's own parameter multiplies that scheme alone, one of the scenario multiplies all."""
    found = variants(
        str(scenario), (), None, ("claim", "clamp"), [parse_sweep("scheme.clamp.cuts=equal,proportional")]
    )
    assert [one.name for one in found] == ["claim", "clamp cuts=equal", "clamp cuts=proportional"]
    both = variants(str(scenario), (), None, ("claim", "naive"), [parse_sweep("guests.count=1,2")])
    assert [one.loaded.scenario.guests.count for one in both] == [1, 2, 1, 2]
    with pytest.raises(UsageError, match="a parameter of none of claim"):
        variants(str(scenario), (), None, ("claim",), [parse_sweep("scheme.clamp.cuts=equal")])
    with pytest.raises(UsageError, match="--sweep nosuch: unknown key"):
        variants(str(scenario), (), None, ("claim",), [parse_sweep("nosuch=1,2")])
    with pytest.raises(UsageError, match=r"--sweep scheme\.clamp\.nosuch: scheme 'clamp'"):
        compare(str(scenario), "clamp", sweep=["scheme.clamp.nosuch=1"])
    with pytest.raises(UsageError, match="--set nosuch: unknown key"):
        variants(str(scenario), ("nosuch=1",), None, ("claim",), [parse_sweep("guests.count=1,2")])
    for bad in ("cuts", "=1", "cuts=", "cuts=a,,b"):
        with pytest.raises(UsageError, match="KEY=VALUE"):
            parse_sweep(bad)


def swept(figure: str, **values: list[float]) -> Comparison:
    """Columns a1, a2 of scheme a, b1 of scheme b ...; a value a repeat."""
    columns: list[Column] = []
    for name, said in values.items():
        cells = {number: Cell(name, number, (), {figure: one}) for number, one in enumerate(said, 1)}
        columns.append(Column(name, name[0], cells))
    return Comparison("x", columns)


def test_the_best_setting_is_chosen_on_one_half_of_the_seeds_and_shown_on_the_other() -> None:
    """A setting that was lucky on odd repeats is chosen, and shown with what it does on the even ones."""
    lucky = swept("pages_swapped", a1=[5.0, 5.0, 5.0, 5.0], a2=[1.0, 9.0, 1.0, 9.0], b1=[7.0, 7.0, 7.0, 8.0])
    best = lucky.best(parse_choice("pages_swapped"))
    assert [one.name for one in best.columns] == ["a2", "b1"]
    assert [one.mean("pages_swapped") for one in best.columns] == [9.0, 7.5]
    assert [sorted(one.cells) for one in best.columns] == [[2, 4], [2, 4]]
    assert best.as_json()["chosen_by"] == "lowest pages_swapped" and "odd repeats" in best.heading
    with pytest.raises(UsageError, match="--repeats 2"):
        swept("pages_swapped", a1=[1.0]).best(parse_choice("pages_swapped"))


def test_what_is_best_depends_on_the_figure() -> None:
    """More admitted launches are better, fewer swapped pages; where neither is, the user says which."""
    admitted = swept("admitted", a1=[5.0, 5.0], a2=[1.0, 1.0])
    assert [one.name for one in admitted.best(parse_choice("admitted")).columns] == ["a1"]
    assert [one.name for one in admitted.best(parse_choice("lowest:admitted")).columns] == ["a2"]
    assert parse_choice("refused_while_free.clamp").highest is False
    for bad, named in (("launches", "highest:launches"), ("pian", "no such"), ("most:admitted", "no such")):
        with pytest.raises(UsageError, match=named):
            parse_choice(bad)


def test_the_documented_sweep_is_made_of_parameters_that_schemes_have() -> None:
    """Every value is accepted, the scheme's own default is among them, and it concerns that scheme alone."""
    swept = {one.key: one.values for one in documented()}
    for key, values in swept.items():
        _, scheme, name = key.split(".")
        found = scheme_class(scheme).parameters
        assert found is not None
        default = next(one.default for one in msgspec.structs.fields(found) if one.name == name)
        assert str(default).lower().removesuffix(".0") in values, key
        for value in values:
            make_scheme(scheme, {name: json.loads(value) if value.isdigit() or value in TRUTHS else value})
    only = parse_sweeps(["documented", "guests.count=1,2"], ["static", "claim"])
    assert [one.key for one in only] == ["scheme.static.overcommit_percent", "guests.count"]


def test_every_setting_is_a_row_and_the_chosen_one_is_marked() -> None:
    """What a sweep tried is shown with both halves of its repeats."""
    found = swept("harm_pages", a1=[5.0, 50.0], a2=[1.0, 10.0], b1=[7.0, 70.0])
    lines = io.StringIO()
    Console(file=lines, width=150).print(found.settings(parse_choice("harm_pages")))
    rows = [line.strip("│ ").split("│") for line in lines.getvalue().splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in row[:3]] for row in rows] == [
        ["a1", "5", "50"],
        ["> a2", "1", "10"],
        ["> b1", "7", "70"],
    ]


def test_many_columns_are_several_tables_in_which_nothing_is_cut() -> None:
    """Each has the first column, every other stands in one of them, and the caption stands once."""
    found = swept("admitted", **{f"setting{number}": [1_234_567.0, 7_654_321.0] for number in range(12)})
    for width in (80, 200):
        lines = io.StringIO()
        console = Console(file=lines, width=width)
        shown = list(found.tables(console))
        for table in shown:
            console.print(table)
        names = [str(column.header) for table in shown for column in table.columns[2:]]
        assert all(table.columns[1].header == "setting0" for table in shown)
        assert names == [one.name for one in found.columns[1:]]
        text = lines.getvalue()
        assert "…" not in text and text.count("4,444,444") == len(names) + len(shown)
        assert text.count("same seeds") == 1 and max(map(len, text.splitlines())) <= width
    assert len(list(found.tables(Console(width=400)))) == 1


def test_a_comparison_begun_by_another_version_is_refused(scenario: Path, tmp_path: Path) -> None:
    """Cells of other code, or of nobody knows which, are not mixed in; the line names the cure."""
    out = tmp_path / "out"
    open_comparison(load_scenario(scenario), out, real=False)
    header = json.loads((out / HEADER).read_text())
    assert header["claimlab"] == build() and len(header["scenario_sha256"]) == 64
    for was in ("0.0.9, code 0123456789ab", None):
        (out / HEADER).write_text(json.dumps({**header, "claimlab": was}))
        with pytest.raises(UsageError, match=r"another version of claimlab.*--out, or remove this one"):
            open_comparison(load_scenario(scenario), out, real=False)


def test_a_run_whose_timings_cannot_be_trusted_gives_no_figure(scenario: Path, tmp_path: Path) -> None:
    """Its cell says why, is in no column and is run once more; a virtual run is trusted."""
    (only,) = variants(str(scenario), (), None, ("claim",), ())
    task = Task(tmp_path, only, 1, real=False)
    cell = run_cell(task)
    assert task.finished() == cell and not cell.distrust
    parts = ("falsely_refused_pages", "failed_late_pages", "pages_swapped")
    assert cell.figures["harm_pages"] == sum(cell.figures[name] or 0 for name in parts)
    late = HostResult(lags={"hypervisor": Lag(0.2, 0.3)})
    assert "hypervisor woke up" in distrusted(only.loaded.scenario, [HostResult(), late])
    task.path.write_bytes(msgspec.json.encode(replace(cell, distrust="too loaded")))
    assert task.finished() is None
    found = fold(tmp_path, [only], {("claim", 1): replace(cell, distrust="too loaded")}, real=True)
    assert found.distrusted == ["claim, repeat 1: too loaded"] and not found.columns[0].cells


def test_admitted_means_the_same_to_summary_and_judge() -> None:
    """A launch admitted without naming a commit cannot be judged, and was admitted all the same."""
    lab = HandMade()
    lab.say(lab.order(10), Stage.ADMITTED, 1.0, commit=0)
    lab.say(1, Stage.BUILT, 2.0)
    judged = figures([lab.judge()])
    assert (judged.judged, judged.admitted) == (0, 1)
    assert judged.admitted == summarise(launches_of({1: 0.0}, lab.outcomes), (), ()).admitted


@pytest.mark.long
def test_real_processes_give_cells_too(scenario: Path, tmp_path: Path) -> None:
    """--real runs processes one cell at a time, and keeps their evidence."""
    out = tmp_path / "out"
    done = claimlab("compare", scenario, "--scheme", "claim,naive", "--repeats", 1, "--real", "--out", out)
    assert done.returncode == 0, done.stderr
    assert document(out)["variants"][0]["figures"]["admitted"]["values"] == [2]
    assert len(list(out.glob("runs/*/*/*/*/journal.msgpack"))) == 2


def test_intervals_are_those_of_scipy_and_cover() -> None:
    """BCa by scipy; of 95 % intervals of samples of a known mean, about that many hold it."""
    values = [Random(5).gauss(10, 3) for _ in range(15)]
    found = estimate(values, seed=3)
    wanted = stats.bootstrap(
        (np.asarray(values),), np.mean, method="BCa", n_resamples=9999, rng=np.random.default_rng(3)
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))
    held = 0
    for number in range(60):
        rng = Random(number)
        one = estimate([rng.expovariate(1 / 4) for _ in range(30)], seed=number)
        assert one.low is not None and one.high is not None
        held += one.low <= 4 <= one.high
    assert 50 <= held < 60


def test_intervals_of_few_values_cover_too() -> None:
    """Of four values the interval is Student's, which holds the mean in about 95 % of all cases."""
    held = 0
    for number in range(400):
        rng = Random(number)
        one = estimate([rng.gauss(4, 1) for _ in range(4)])
        assert one.low is not None and one.high is not None
        held += one.low <= 4 <= one.high
    assert 370 <= held <= 392  # of a bootstrap's it would be 320 or so


def test_differences_are_paired_by_repeat() -> None:
    """A constant gap under wild noise is seen exactly; repeats without a partner are left out."""
    noise = [Random(2).uniform(0, 1000) for _ in range(8)]
    baseline: dict[int, float | None] = dict(enumerate(noise))
    gap = difference({repeat: value + 7 for repeat, value in enumerate(noise)}, baseline)
    assert gap is not None and gap.clear and gap.higher == 1
    assert gap.estimate.mean == pytest.approx(7) and gap.estimate.count == 8
    wobbling = difference({0: noise[0] + 1, 1: noise[1] - 1, 2: None, 9: 5.0}, baseline)
    assert wobbling is not None and wobbling.estimate.count == 2 and wobbling.higher == 0.5
    assert not wobbling.clear and wobbling.estimate.low is None
    assert difference({9: 5.0}, baseline) is None
    few = estimate([1.0, 2.0])
    assert (few.mean, few.low) == (1.5, None)
    assert estimate([4.0] * 5).high == 4.0
