"""trace.json: it keeps the trace-event format, slices and arrows have both ends, and it tells of the run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from launch.cli import main
from launch.report.folder import RunFolder, read_run
from launch.trace.write import trace
from tests.launch.report_runs import simulated

SCHEMA = Path(__file__).resolve().parents[1] / "data" / "trace-event.schema.json"
Event = dict[str, Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Naive, which fails late, and clamp, which refuses guests; with page and trace at the end."""
    return simulated(tmp_path_factory.mktemp("trace"), "--scheme", "naive,clamp")


@pytest.fixture(scope="module")
def events(run: Path) -> list[Event]:
    """All of it."""
    document = json.loads((run / "trace.json").read_text(encoding="utf-8"))
    found: list[Event] = document["traceEvents"]
    return found


def tracks(events: list[Event]) -> Iterator[list[Event]]:
    """The events of each track, in the order of the file; names left out."""
    timed = sorted((one for one in events if one["ph"] != "M"), key=place)
    for _, track in groupby(timed, key=place):
        yield list(track)


def place(event: Event) -> tuple[int, int]:
    """Its track."""
    return event["pid"], event["tid"]


def test_the_trace_keeps_the_format(run: Path) -> None:
    """Every event has what its phase requires, by a schema of the format, which refuses what lacks it."""
    document = json.loads((run / "trace.json").read_text(encoding="utf-8"))
    validator = Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert not [error.message for error in validator.iter_errors(document)][:3]
    assert {one["ph"] for one in document["traceEvents"]} == set("BEXsfCM")
    broken = next(one for one in document["traceEvents"] if one["ph"] == "X")
    del broken["dur"]
    assert not validator.is_valid(document)


def test_every_begin_has_its_end_and_times_are_monotone(events: list[Event]) -> None:
    """On each track times never fall, ends do not outnumber begins, none is left open or hides another.

    Viewers merge the args of both: chrome://tracing drops a begin's that its end has too, with a warning.
    """
    for track in tracks(events):
        times = [one["ts"] for one in track]
        assert times == sorted(times)
        depth, begun = 0, dict[str, Any]()
        for one in track:
            begun = one["args"] if one["ph"] == "B" else begun
            assert one["ph"] != "E" or not begun.keys() & one["args"].keys()
            depth += {"B": 1, "E": -1}.get(one["ph"], 0)
            assert depth in (0, 1)  # operations at a time have a track each
        assert depth == 0


def test_every_arrow_has_both_ends_in_slices(events: list[Event]) -> None:
    """Each flow starts once and then finishes once, in time and in the file, inside a slice at both ends."""
    ends: dict[int, list[Event]] = {}
    for one in events:
        if one["ph"] in "sf":
            ends.setdefault(one["id"], []).append(one)
    assert ends
    slices = {(one["pid"], one["tid"], one["ts"]) for one in events if one["ph"] in "BX"}
    ending = {(one["pid"], one["tid"], round(one["ts"] - 0.001, 3)) for one in events if one["ph"] == "E"}
    for both in ends.values():
        start, finish = both
        assert (start["ph"], finish["ph"]) == ("s", "f")
        assert start["ts"] <= finish["ts"] and start["pid"] != finish["pid"]
        for one in both:
            assert (one["pid"], one["tid"], one["ts"]) in slices | ending


def test_claims_clamps_populates_and_refusals_are_told(run: Path, events: list[Event]) -> None:
    """What the run was about is in it: clamps as slices, populates with answers, refusals, swap, counters."""
    categories = {one["cat"] for one in events if "cat" in one}
    assert categories >= {"populate", "clamp", "fault", "commit", "flow", "hypercall"}
    refused = [one["args"]["refused"] for one in events if one["ph"] == "E" and "refused" in one["args"]]
    assert {"max_pages", "empty heap"} <= set(refused)
    swapped = [one["args"]["swapped_out"] for one in events if one.get("cat") == "fault"]
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in run.glob("*/*/*/guests/*.json")]
    assert sum(swapped) == sum(one["swapped_out"] for one in reports) > 0
    times = [one["args"]["out"] for one in events if one.get("cat") == "swap"]
    assert sum(times) == sum(swapped)
    assert len(times) > len(swapped)
    free = [one["args"]["pages"] for one in events if one["ph"] == "C" and one["name"] == "free"]
    assert min(free) == 0
    names = {one["args"]["name"] for one in events if one["ph"] == "M" and one["name"] == "process_name"}
    assert {"naive/1/host0 hypervisor", "clamp/1/host0 claims and clamps"} <= names


def test_commits_are_in_the_order_of_their_numbers(events: list[Event]) -> None:
    """A hypervisor's slices stand in commit order, each at a time of its own."""
    for track in tracks(events):
        commits = [(one["ts"], one["args"]["commit"]) for one in track if one.get("cat") == "commit"]
        assert commits == sorted(commits)
        assert len({at for at, _ in commits}) == len(commits)


def test_a_trace_says_what_it_leaves_out(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for few operations, clamps are drawn all the same, and the others are counted."""
    monkeypatch.setattr("launch.report.folder.OPERATIONS", 40)
    read: RunFolder = read_run(run / "clamp" / "1" / "host0", lambda _: None, judge=False)
    document = trace(read)
    assert document["otherData"]["operations left out"] > 0
    drawn = [one["cat"] for one in document["traceEvents"] if one["ph"] == "B"]
    assert drawn.count("clamp") > 10 and len(drawn) - drawn.count("clamp") <= 40


def test_no_folder_is_made_for_a_trace(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--out in a folder that is not there is one line with the cure, for the page too, and makes nothing."""
    there = run / "clamp" / "1" / "host0"
    for command in ("trace", "report"):
        assert main([command, str(there), "--out", str(tmp_path / "new" / "file")]) == 2
        printed = capsys.readouterr().err.splitlines()
        assert printed[-1].endswith(f"no folder {tmp_path / 'new'}: make it, or name another file with --out")
    assert not (tmp_path / "new").exists()
