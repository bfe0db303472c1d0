"""The summary counts what the parties reported, and says when an answer was final."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hypervisor.public.orders import Outcome, Stage
from launch.attribution import attributions
from launch.launches import Launch, Verdict, fold
from launch.percentile import percentile
from launch.scenario.load import load_scenario
from launch.summary import Report, SchemeSummary, Summary, summarise
from launch.tables import markdown, remarks, rich_table


@dataclass(frozen=True)
class Figures:
    populate_calls_refused: int
    swapped_out: int
    oom_kills: int


BUILT = (
    Outcome(1, Stage.ADMITTED, time=10.5, admission_hypercalls=1),
    Outcome(1, Stage.BUILT, time=130.0, admission_hypercalls=2, hypercalls=90, pages_populated=1000),
)
REFUSED = (Outcome(2, Stage.REFUSED, time=11.0, admission_hypercalls=1, reason="ENOMEM from claim_pages"),)
FAILED = (
    Outcome(3, Stage.ADMITTED, time=12.5, admission_hypercalls=1),
    Outcome(3, Stage.FAILED, time=92.0, admission_hypercalls=3, pages_populated=700, reason="short populate"),
)
STILL_BUILDING = (Outcome(4, Stage.ADMITTED, time=13.0, admission_hypercalls=1),)


def test_outcomes_fold_to_the_answer_that_proved_final() -> None:
    """Admission counts for what was built, refusal for what was not begun, failure for what failed late."""
    ordered_at = {1: 10.0, 2: 10.0, 3: 12.0, 4: 12.0, 5: 12.0}
    launches = fold(ordered_at, [*STILL_BUILDING, *FAILED, *REFUSED, *BUILT])
    assert [(launch.order, launch.verdict, launch.answered_after) for launch in launches] == [
        (1, Verdict.BUILT, 0.5),
        (2, Verdict.REFUSED, 1.0),
        (3, Verdict.FAILED_LATE, 80.0),
        (4, Verdict.UNSETTLED, None),
        (5, Verdict.UNANSWERED, None),
    ]
    assert [launch.pages_discarded for launch in launches] == [0, 0, 700, 0, 0]
    assert [launch.admission_hypercalls for launch in launches] == [2, 1, 3, 1, None]
    assert launches[1].reason == "ENOMEM from claim_pages"


def test_a_destroyed_domain_was_built() -> None:
    """The end of a lifetime changes nothing about the launch, and strangers' orders are left out."""
    (launch,) = fold({1: 10.0}, [*BUILT, Outcome(1, Stage.DESTROYED, time=400.0), *REFUSED])
    assert (launch.verdict, launch.answered_after) == (Verdict.BUILT, 0.5)


def test_a_scheme_is_summarised_from_everything_reported() -> None:
    """Counts are sums, hypercalls a mean over answered launches, and a late failure was admitted first."""
    launches = fold({1: 10.0, 2: 10.0, 3: 12.0}, [*BUILT, *REFUSED, *FAILED])
    figures = [Figures(2, 300, 1), Figures(1, 0, 0)]
    summary = summarise(launches, figures, ["claim of d9"])
    assert summary == SchemeSummary(
        launches=3,
        admitted=2,
        refused=1,
        failed_late=1,
        pages_discarded=700,
        guest_refused_allocations=3,
        pages_swapped=300,
        oom_kills=1,
        hypercalls_per_launch=2.0,
        time_to_answer_p50_s=1.0,
        time_to_answer_p99_s=78.42,
        leftovers=1,
    )


def test_a_scheme_without_launches_has_no_times() -> None:
    """Nothing answered gives null, not a number."""
    summary = summarise((), (), ())
    assert (summary.launches, summary.hypercalls_per_launch, summary.time_to_answer_p99_s) == (0, None, None)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40))
def test_percentiles_lie_between_the_extremes_and_rise(values: list[float]) -> None:
    """The 50th percentile is not above the 99th, and both are between the smallest and the largest value."""
    p50, p99 = percentile(values, 50), percentile(values, 99)
    assert p50 is not None and p99 is not None
    assert min(values) - 1e-6 <= p50 <= p99 + 1e-6 <= max(values) + 2e-6


def a_launch(order: int, seconds: float) -> Launch:
    return Launch(order, Verdict.REFUSED, seconds, 0, 1)


def a_report(**changes: object) -> Report:
    """Two schemes, one of which refused three launches."""
    claim = summarise([a_launch(order, order / 8) for order in (1, 2, 3)], [Figures(12_345, 0, 0)], ())
    summary = Summary(True, 7, "4.22", 40.0, {"claim": claim, "naive": summarise((), (), ())})
    return Report("default", summary, round_trip=0.0005, **changes)  # pyright: ignore[reportArgumentType]


def test_the_document_has_exactly_the_promised_keys() -> None:
    """summary.json holds the keys that its readers rely on, in their order, and no others."""
    document = json.loads(a_report().summary.to_json())
    assert list(document) == ["valid", "seed", "release", "speed", "schemes"]
    assert list(document["schemes"]) == ["claim", "naive"]
    assert list(document["schemes"]["claim"]) == [
        "launches",
        "admitted",
        "refused",
        "failed_late",
        "pages_discarded",
        "guest_refused_allocations",
        "pages_swapped",
        "oom_kills",
        "hypercalls_per_launch",
        "time_to_answer_p50_s",
        "time_to_answer_p99_s",
        "leftovers",
        "memory",
    ]
    assert document["valid"] is True and document["schemes"]["claim"]["time_to_answer_p50_s"] == 0.25


def test_the_table_has_schemes_as_columns_and_prints_the_time_scale() -> None:
    """Terminal and summary.md alike show every figure, the speed and one round trip in emulated time."""
    console = Console(width=120, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as capture:
        console.print(rich_table(a_report()))
    for text in (capture.get(), markdown(a_report())):
        assert "1 real second = 40 emulated seconds" in text
        assert "0.5 ms real = 20 ms emulated" in text
        assert "release 4.22, seed 7, valid" in text
        assert "12,345" in text and "refused at once" in text
        assert next(line for line in text.splitlines() if "claim" in line).index("claim") < text.index(
            "naive"
        )
    assert len([line for line in markdown(a_report()).splitlines() if line.startswith("|")]) == 14


def test_remarks_are_one_line_each() -> None:
    """Violations, leftovers and notes follow the table, whatever line breaks they hold."""
    report = a_report(violations=("I2:\nbroken",), leftovers={"clamp": ("d3 max_pages",)}, notes=("killed",))
    assert list(remarks(report)) == ["violation: I2: broken", "left over by clamp: d3 max_pages", "killed"]
    assert markdown(report).endswith(
        "- violation: I2: broken\n- left over by clamp: d3 max_pages\n- killed\n"
    )


@pytest.mark.parametrize(("name", "number"), [("default", 0), ("borg", 2)])
def test_recorded_data_is_attributed(name: str, number: int, tmp_path: Path) -> None:
    """A report names the publishers of what it replayed, and nobody otherwise."""
    header = "time,avg_memory_usage,assigned_memory,collection_id,instance_index\n"
    trace = f"{tmp_path}/borg.csv"
    with open(trace, "w", encoding="utf-8") as file:
        file.write(header)
    sets = [f"guests.trace={trace}", f"arrivals.trace={tmp_path}"] if number else []
    lines = attributions(load_scenario(name, sets).scenario)
    assert len(lines) == number
    assert all("CC-BY 4.0" in line for line in lines)
