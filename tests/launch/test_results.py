"""A run's folder holds what is needed to understand and repeat the run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from launch.errors import UsageError
from launch.results import Results, open_results, path_name, start_time
from launch.scenario.load import load_scenario

NOON = datetime(2026, 1, 8, 12, 0, tzinfo=UTC)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_is_named_by_scenario_time_and_seed(here: Path) -> None:
    """Without --out it is runs/<scenario>-<UTC time>-<seed>; a second run of that second has a number."""
    loaded = load_scenario("default", seed=7)
    first = open_results(loaded, None, NOON)
    second = open_results(loaded, None, NOON)
    assert first.path == here / "runs" / "default-20260108T120000Z-7"
    assert second.path == here / "runs" / "default-20260108T120000Z-7-2"


def test_a_run_notes_what_was_run_with_what(here: Path) -> None:
    """Scenario as written and as resolved, seed and versions lie in the folder from the beginning."""
    loaded = load_scenario("default", ["guests.count=3"], seed=7)
    results = open_results(loaded, here / "out", NOON)
    assert (results.path / "scenario.toml").read_text(encoding="utf-8") == loaded.source.text
    assert load_scenario(results.path / "scenario.json").scenario == loaded.scenario
    assert (results.path / "seed").read_text(encoding="utf-8") == "7\n"
    versions = json.loads((results.path / "versions.json").read_text(encoding="utf-8"))
    assert versions["python"] == sys.version.split()[0] and {"pyzmq", "pydantic", "platform"} <= set(versions)


def test_a_folder_that_holds_something_is_not_touched(here: Path) -> None:
    """--out with somebody's files in it is refused in one line, the files stay alone."""
    (here / "out").mkdir()
    (here / "out" / "thesis.tex").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match=r"^out: not empty: [^\n]*--out[^\n]*$"):
        open_results(load_scenario("default"), Path("out"), NOON)
    assert [entry.name for entry in (here / "out").iterdir()] == ["thesis.tex"]


def test_a_folder_that_cannot_be_made_is_refused(here: Path) -> None:
    """--out below a file is refused in one line."""
    (here / "file").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match=r"^file/run: Not a directory: choose another folder with --out$"):
        open_results(load_scenario("default"), Path("file/run"), NOON)


def test_each_host_has_its_folder(tmp_path: Path) -> None:
    """RUN/<scheme>/<repeat>/<host>, with a scheme's class named so that a path can hold it."""
    results = Results(tmp_path)
    assert results.host_directory("claim", 1, "host0") == tmp_path / "claim" / "1" / "host0"
    assert results.host_directory("my.module:Class", 2, "host0").is_dir()
    assert path_name("my.module:Class") == "my.module-Class" and path_name("a/../b") == "a-..-b"


def test_processes_are_recorded_with_their_start(tmp_path: Path) -> None:
    """A pid goes down with the start time that tells it from a later process of the same number."""
    results = Results(tmp_path)
    # The name of a program may hold the very brackets that end the field before the numbers.
    odd = tmp_path / "a) b (c"
    odd.symlink_to("/bin/sleep")
    with subprocess.Popen([odd, "600"]) as child:
        results.record_process("launcher", os.getpid())
        results.record_process("guest", child.pid)
        child.kill()
    lines = (tmp_path / "pids.jsonl").read_text(encoding="utf-8").splitlines()
    launcher, guest = (json.loads(line) for line in lines)
    assert launcher == {"role": "launcher", "pid": os.getpid(), "start_time": start_time(os.getpid())}
    assert guest["role"] == "guest" and guest["start_time"] >= launcher["start_time"]
    assert start_time(child.pid) is None


def test_latest_follows_the_newest_run(here: Path) -> None:
    """The link is relative and always points at the run that was linked last."""
    loaded = load_scenario("default")
    for name in ("one", "two"):
        open_results(loaded, Path(name), NOON).link_latest()
        assert os.readlink("latest") == name
    assert sorted(entry.name for entry in here.iterdir()) == ["latest", "one", "two"]


def test_latest_never_replaces_a_real_file(here: Path) -> None:
    """A file or folder called latest is somebody's own."""
    (here / "latest").mkdir()
    open_results(load_scenario("default"), Path("one"), NOON).link_latest()
    assert not (here / "latest").is_symlink()


@pytest.mark.parametrize("out", [None, Path("new/er"), Path("kept/new"), Path("kept")])
def test_a_discarded_run_leaves_the_place_as_it_was(here: Path, out: Path | None) -> None:
    """The folders that were made go, one that stood there empty stays, empty."""
    (here / "kept").mkdir()
    results = open_results(load_scenario("default"), out, NOON)
    results.host_directory("claim", 1, "host0")
    results.discard()
    assert [path.name for path in here.rglob("*")] == ["kept"]


def test_a_discarded_run_leaves_its_neighbours_alone(here: Path) -> None:
    """Folders made on the way that hold something by now stay."""
    first = open_results(load_scenario("default"), None, NOON)
    second = open_results(load_scenario("default"), None, NOON)
    first.discard()
    assert list((here / "runs").iterdir()) == [second.path]


def test_outcomes_are_worth_keeping(tmp_path: Path) -> None:
    """A run has outcomes once a host's folder holds them."""
    results = Results(tmp_path)
    host = results.host_directory("claim", 1, "host0")
    assert not results.has_outcomes()
    (host / "outcomes.jsonl").touch()
    assert results.has_outcomes()


def test_the_summary_is_written_in_both_forms(tmp_path: Path) -> None:
    """summary.json and summary.md hold what they are given."""
    Results(tmp_path).write_summary(b'{"valid": true}\n', "# valid\n")
    assert json.loads((tmp_path / "summary.json").read_bytes()) == {"valid": True}
    assert (tmp_path / "summary.md").read_text(encoding="utf-8") == "# valid\n"
