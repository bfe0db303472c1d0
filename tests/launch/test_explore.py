"""`claimlab explore` finds the races of small worlds, makes them small, and replays them."""

from __future__ import annotations

import gc
import itertools
import json
from typing import Any

import pytest

from launch.cli import main
from launch.commands import explore
from launch.errors import UsageError
from launch.explore.blueprint import Blueprint
from launch.explore.execution import Execution
from launch.explore.interleaving import interleaving
from launch.explore.options import asked
from launch.explore.schedule import read, written

ODD = "tests.launch.odd_schemes"
SCHEDULERS = ("exhaustive", "random", "pct")


def explored(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON document of a search."""
    budget = () if {"--budget", "--schedule"} & {*arguments} else ("--budget", "5000")  # not of seconds
    code = main(["explore", *arguments, *budget, "--json"])
    return code, json.loads(capsys.readouterr().out)


def toctou() -> Blueprint:
    return asked("toctou", None, ()).blueprint()


@pytest.mark.rule("A15", "C36", "D3")
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_toctou_is_found_and_made_small(scheduler: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each scheduler finds the seed's TOCTOU, and it shrinks to three to five operations after the set-up."""
    code, document = explored(capsys, "toctou", "--scheduler", scheduler)
    violation = document["violation"]
    assert (code, document["verdict"]) == (1, "violated")
    assert violation["kind"] == "clamped on a stale sample"
    assert 3 <= violation["operations"] <= 5
    words = [row["operation"].split()[0] for row in violation["interleaving"]]
    assert words == ["getdomaininfolist", "physinfo", "populate", "max_mem"]
    assert violation["interleaving"][-1]["untrue"]


def test_the_command_it_prints_replays_the_violation(capsys: pytest.CaptureFixture[str]) -> None:
    """The one command of a finding, given to the command line, shows the same interleaving again."""
    _, document = explored(capsys, "toctou", "--scheduler", "random", "--seed", "3", "--set", "release=4.22")
    program, command, *arguments = document["violation"]["replay"].split()
    assert (program, command) == ("claimlab", "explore")
    code, again = explored(capsys, *arguments)
    assert code == 1
    assert again["schedules"] == 1
    assert again["violation"]["interleaving"] == document["violation"]["interleaving"]


def test_a_schedule_that_was_tried_is_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    """A search keeps no world of those it tried: its memory does not grow with the number of schedules."""
    explored(capsys, "toctou", "--scheduler", "random", "--budget", "20")
    gc.collect()
    assert sum(type(one) is Execution for one in gc.get_objects()) == 0


def test_same_seed_same_finding(capsys: pytest.CaptureFixture[str]) -> None:
    """A seed gives the same schedules every time."""
    first, second = (explored(capsys, "toctou", "--scheduler", "random", "--seed", "9")[1] for _ in range(2))
    assert first["violation"] == second["violation"]
    assert first["schedules"] == second["schedules"]


def test_a_spent_budget_is_neither_valid_nor_invalid(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing found before the budget is gone leaves with 2."""
    code, document = explored(capsys, "toctou", "--scheme", "claim", "--scheduler", "random", "--budget", "5")
    assert (code, document["verdict"], document["schedules"]) == (2, "budget", 5)


def test_table_says_who_did_what_and_how_to_repeat_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The printed report has the interleaving, the replay command, and the speed of the search."""
    assert main(["explore", "toctou", "--scheduler", "random", "--budget", "5000"]) == 1
    printed = capsys.readouterr().out
    for text in ("a toolstack", "b guest", "became untrue", "replay: claimlab explore toctou", "schedules/s"):
        assert text in printed


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        (("nowhere",), "name one of"),
        (("toctou", "--scheme", "nobody"), "name one of"),
        (("toctou", "--set", "release=5.0"), "use one of"),
        (("toctou", "--set", "colour=3"), "no such key"),
        (("toctou", "--set", "release"), "KEY=VALUE"),
        (("toctou", "--set", "scheme.total=x"), "total"),
        (("freeze-vs-populate", "--scheme", "claim"), "explore one of"),
        (("toctou", "--budget", "soon"), "30s say"),
        (("claim-race", "--set", "fit=99"), "ask for less"),
        (("toctou", "--scheme", f"{ODD}:Waits"), "toolstack waits for ever before the exploration"),
        (("toctou", "--scheme", f"{ODD}:Repeats"), "goes on after 20,000 moves before the exploration"),
        (("toctou", "--scheduler", "fair"), "use one of"),
        (("toctou", "--scheduler", "replay"), "--schedule"),
        (("toctou", "--schedule", "a3.!"), "is no turn"),
        (("toctou", "--schedule", "a3", "--scheduler", "pct"), "leave --scheduler pct out"),
        (("toctou", "--schedule", ""), "or - for none"),
        (("toctou", "--schedule", "a2..b"), "is no turn"),
        (("toctou", "--schedule", "z9"), "name one of a (toolstack), b (guest)"),
        (("toctou", "--schedule", "z1/a2"), "name one of a (toolstack), b (guest)"),
        (("toctou", "--schedule", "a7/a2"), "is no act"),
        (("toctou", "--schedule", "a0/a2"), "is no turn"),
        (("toctou", "--schedule", "/a2"), "turn 1, a, cannot be taken, nobody"),
        (("toctou", "--schedule", "b999.a"), "cannot be taken, its party has nothing to do there"),
        (("toctou", "--schedule", "a++"), "nothing else to do there: leave it out"),
        (("toctou", "--scheme", "claim", "--schedule", "a999"), "leave it out"),
    ],
)
def test_bad_usage_names_its_cure(
    arguments: tuple[str, ...], cure: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a user can put right is one line on standard error, and exit code 2."""
    assert main(["explore", *arguments]) == 2
    printed = capsys.readouterr()
    assert cure in printed.err
    assert len(printed.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("scheme", "kind"),
    [("Raises", "scheme raised"), ("RefusesUnseen", "false refusal"), ("Waits", "never ended")],
)
def test_a_scheme_that_gives_no_answer_is_no_clean_one(
    scheme: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bug of the scheme, a refusal that looked at nothing, and a wait for ever are violations."""
    code, document = explored(capsys, "claim-race", "--scheme", f"{ODD}:{scheme}")
    assert (code, document["violation"]["kind"]) == (1, kind)


def test_the_budget_ends_a_schedule_that_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    """Seconds are seconds also when a scheme goes on for ever within one schedule."""
    code, document = explored(capsys, "claim-race", "--scheme", f"{ODD}:Repeats", "--budget", "1s")
    assert (code, document["verdict"], document["schedules"]) == (2, "budget", 0)


def test_a_budget_of_seconds_ends_the_shrinking_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was found is shown as small as it got: here no act could be left out in time."""
    arguments = ("toctou", "--scheduler", "random", "--budget")
    assert "/" in explored(capsys, *arguments, "5000")[1]["violation"]["schedule"]
    clock = itertools.count(0, 1000)
    monkeypatch.setattr(explore, "monotonic", lambda: next(clock))
    code, document = explored(capsys, *arguments, "900s")
    assert (code, "/" in document["violation"]["schedule"]) == (1, False)
    assert document["violation"]["interleaving"][-1]["untrue"]


@pytest.mark.parametrize("text", ["-", "a3.b.a2", "a+2.b", "a1.b2/a3.b", "b1/-"])
def test_schedules_read_as_they_are_written(text: str) -> None:
    """A schedule's text and its turns say the same."""
    assert written(*read(text)) == text


def test_turns_that_cannot_be_obeyed_are_passed_over() -> None:
    """A schedule made for a larger world still runs: unknown parties and idle ones are skipped."""
    blueprint = toctou()
    shown = [
        [row.operation for row in interleaving(blueprint, *read(text))] for text in ("a2.b", "z9.a2.b.y4")
    ]
    assert shown[0] == shown[1]


def test_repeated_steps_are_counted() -> None:
    """A long operation is one row, its repeated steps counted and the odd one named."""
    blueprint = asked("toctou", "naive", ("release=4.22",)).blueprint()
    rows = interleaving(blueprint, *read("a.b3.a"))
    long = next(row.what for row in rows if row.operation == "populate domain 2: 512 x order 0")
    assert long.endswith("(268 x (take, assign), take)")
    assert rows[-1].untrue.startswith("late failure")


def test_a_small_world_has_one_scheme() -> None:
    """Schemes at once are for scenarios: said so, not that there is no such scheme."""
    with pytest.raises(UsageError, match=r"share one scheme: name one"):
        asked("toctou", "claim+clamp", ())
