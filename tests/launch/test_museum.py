"""`claimlab museum`: every historic bug is seen with its switch on, and nothing is with it off."""

from __future__ import annotations

import json
from dataclasses import replace
from types import MappingProxyType

import pytest
from rich.console import Console

from launch.cli import main
from launch.explore.exhaustive import ExhaustiveScheduler
from launch.explore.schedule import read
from launch.explore.schedulers import PctScheduler
from launch.explore.search import Budget, Finding, explore
from launch.explore.shrink import Shrinker
from launch.museum.catalogue import EXHIBITS
from launch.museum.exhibit import Exhibit, switches_turned
from launch.museum.report import Report
from launch.museum.tour import show

SEEN_AS = MappingProxyType(
    {
        "negative-free": "physinfo understates",
        "wrapped-claim": "claim beyond memory",
        "dying-claim": "I5 zombie",
        "regrown-claim": "I3 nominated",
        "claim-lost": "late failure",
        "half-covered": "late failure",
        "starved-owner": "late failure",
        "offlined-under-claim": "I3 offlined",
        "tmem-list": "late failure",
        "torn-physinfo": "late failure",
        "freemem": "late failure",
        "enosys-swallowed": "late failure",
        "hvm-additional": "late failure",
        "mixed-builders": "late failure",
        "unlocked-rebalance": "late failure",
        "inherited-socket": "never ended",
        "second-toolstack": "dom0 out of memory",
        "reserved-twice": "false refusal",
        "mebibyte-forgotten": "wrongly uncooperative",
        "rejected-counts": "false refusal",
        "nothing-assumed": "late failure",
    }
)
"""Which of the checkers' words each bug is caught by."""
FEW = 60
"""Schedules of the sound side in a quick look; the long test tries all."""
each_exhibit = pytest.mark.parametrize("name", tuple(EXHIBITS))


def test_there_are_twelve_and_more() -> None:
    """The museum has the dozen that was asked for, and each is expected to be seen in some way."""
    assert len(EXHIBITS) >= 12
    assert set(EXHIBITS) == set(SEEN_AS)


@pytest.mark.rule(
    "C9", "C14", "C17", "C23", "C27", "C28", "L3", "L5", "L11", "N5", "N7", "Q6", "Q8", "Q9", "S6", "T23"
)
@each_exhibit
def test_red_with_its_switch_and_green_without(name: str) -> None:
    """The schedule violates what is expected with the switch on; it and many others nothing with it off."""
    shown = show(replace(EXHIBITS[name], budget=FEW))
    assert shown.violation is not None
    assert shown.violation.kind == SEEN_AS[name]
    assert shown.replayed_clean
    assert shown.found_off is None
    assert shown.tried_off


@pytest.mark.long
@each_exhibit
def test_the_sound_side_is_exhausted(name: str) -> None:
    """Every schedule of the sound side is tried, but for the one that says it cannot be."""
    shown = show(EXHIBITS[name])
    assert shown.green
    assert shown.exhausted == (name != "hvm-additional")


@each_exhibit
def test_a_search_finds_it_without_being_told(name: str) -> None:
    """The explorer comes upon every bug by itself, exhaustively or by PCT."""
    blueprint = EXHIBITS[name].on.blueprint()
    found = explore(blueprint, ExhaustiveScheduler(), Budget(schedules=200))
    if found.finding is None:
        found = explore(blueprint, PctScheduler(1, 3), Budget(schedules=400))
    assert found.verdict == "violated"


@pytest.mark.long
@each_exhibit
def test_no_schedule_can_be_made_smaller(name: str) -> None:
    """What is on show is minimal: shrinking it gives it back."""
    exhibit = EXHIBITS[name]
    violation = show(exhibit).violation
    assert violation is not None
    turns, kept = read(exhibit.schedule)
    small = Shrinker(exhibit.on.blueprint()).shrink(Finding(turns, violation, kept))
    assert (small.turns, small.kept) == (turns, kept)


@each_exhibit
def test_a_switch_is_one_change(name: str) -> None:
    """The two sides differ in one switch of the release, or in the scheme, or in who takes part."""
    exhibit = EXHIBITS[name]
    on, off = exhibit.on, exhibit.off
    assert on.release.name == off.release.name
    of_release = switches_turned(exhibit)
    of_scheme = "claim" not in of_release and type_of(exhibit, on) != type_of(exhibit, off)
    of_world = vars(on.world) != vars(off.world)
    assert type(on.world) is type(off.world)
    assert len(of_release) + of_scheme + of_world == 1


def type_of(exhibit: Exhibit, side: object) -> str:
    """The scheme of a side; "" where its world has none."""
    assert side in (exhibit.on, exhibit.off)
    chosen = exhibit.on if side is exhibit.on else exhibit.off
    return type(chosen.scheme()).__name__ if chosen.world.scheme is not None else ""


def test_a_switch_that_does_nothing_is_told() -> None:
    """With the sound side in both places an exhibit is not red, and the visit leaves with 1."""
    exhibit = EXHIBITS["dying-claim"]
    shown = show(replace(exhibit, on=exhibit.off))
    assert (shown.red, shown.green) == (False, True)
    assert Report([shown]).exit_code == 1


def test_a_bug_that_stays_is_told() -> None:
    """With the bug in both places an exhibit is not green, and the visit leaves with 1."""
    exhibit = EXHIBITS["dying-claim"]
    shown = show(replace(exhibit, off=exhibit.on))
    assert (shown.red, shown.green) == (True, False)
    assert Report([shown]).exit_code == 1


def test_one_exhibit_is_shown_with_its_story(capsys: pytest.CaptureFixture[str]) -> None:
    """A name alone prints the history, the interleaving, and both verdicts."""
    assert main(["museum", "claim-lost"]) == 0
    printed = capsys.readouterr().out
    for text in ("75d29d9b5e", "became untrue", "late failure", "schedule a5.b5.a", "green: all 135"):
        assert text in printed


def test_the_table_fits_a_terminal_and_says_what_was_not_tried(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line is wider than 80 columns, no name is cut, and a budgeted sound side is said to be one."""
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["museum", "--list"]) == 0
    listed = capsys.readouterr().out
    Console().print(Report([show(replace(EXHIBITS["offlined-under-claim"], budget=1))]).table())
    printed = listed + capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert all(name in listed for name in EXHIBITS)
    assert "…" not in printed
    lines = list(Report([show(replace(EXHIBITS["dying-claim"], budget=1))]).last_lines())
    assert lines[0] == "dying-claim: its sound side has more schedules than the 2 tried"


def test_the_document_has_every_exhibit_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """--json gives one document with what was seen of each."""
    assert main(["museum", "dying-claim", "freemem", "--json"]) == 0
    exhibits = json.loads(capsys.readouterr().out)["exhibits"]
    assert [one["name"] for one in exhibits] == ["dying-claim", "freemem"]
    assert all(one["red"] and one["green"] and one["interleaving"] for one in exhibits)


def test_the_list_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """--list names all of them, with their sources, and claims nothing about what they show."""
    assert main(["museum", "--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["exhibits"]
    assert [one["name"] for one in listed] == list(EXHIBITS)
    assert not any("red" in one for one in listed)
    assert main(["museum", "--list"]) == 0
    assert "offlined-under-claim" in capsys.readouterr().out


def test_an_unknown_exhibit_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong name is one line on standard error, and exit code 2."""
    assert main(["museum", "mummy"]) == 2
    printed = capsys.readouterr().err
    assert "name one of" in printed
    assert len(printed.splitlines()) == 1
