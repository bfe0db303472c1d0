"""`claimlab clean`: what a killed run left goes, what is somebody else's or still in use stays."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from launch.clean import clean_run, find_runs
from launch.errors import UsageError
from launch.live.access import ACCESS
from launch.results import Results, start_time
from tests.launch.cluster_runs import (
    PATIENCE,
    begin,
    claimlab,
    pid_of,
    still_there,
    wait_until,
    write_scenario,
)


def test_a_killed_run_is_cleaned_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After kill -9 of the launcher its sockets go, its results stay, and a second call finds nothing."""
    with TemporaryDirectory() as short:  # a socket's path has little room
        _kill_and_clean(tmp_path, Path(short), monkeypatch)


def _kill_and_clean(tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(temporary))
    run = tmp_path / "run"
    long = ("--set", "duration=100000")  # it must not end by itself before it is killed
    started = begin("run", write_scenario(tmp_path), "--scheme", "claim", *long, "--out", run)
    wait_until(lambda: pid_of(run, "toolstack-0"))
    assert list(run.rglob(ACCESS))
    busy = claimlab("clean", run)
    assert "still running" in busy.stdout and not list(run.glob("summary.json"))
    started.kill()
    started.communicate(timeout=PATIENCE)
    assert any(temporary.iterdir())
    done = claimlab("clean", run, "--json")
    assert done.returncode == 0, done.stderr
    assert "removed the sockets" in done.stdout
    assert not any(temporary.glob("claimlab-*"))
    assert not list(run.rglob(ACCESS)), "no file with secrets outlives the run"
    wait_until(lambda: not still_there(run))  # ended, and collected by whoever adopts orphans
    assert (run / "scenario.json").exists()
    assert claimlab("clean", run).stdout == "nothing is left behind\n"


def test_only_the_recorded_process_is_stopped(tmp_path: Path) -> None:
    """A process is told by its pid and its start time: another one that has the pid now is left alone."""
    results = Results(tmp_path)
    with subprocess.Popen(["sleep", "600"]) as mine, subprocess.Popen(["sleep", "600"]) as other:
        results.record_process("guest", mine.pid)
        entry = {"role": "guest", "pid": other.pid, "start_time": (start_time(other.pid) or 0) - 1}
        with (tmp_path / "pids.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n" + '{"role": "torn')
        assert clean_run(tmp_path) == [f"{tmp_path}: stopped guest (pid {mine.pid})"]
        assert other.poll() is None
        other.kill()


def test_a_folder_that_is_none_of_ours_stays(tmp_path: Path) -> None:
    """Only folders with the name that a run gives to its sockets are removed."""
    stranger = tmp_path / "precious"
    stranger.mkdir()
    Results(tmp_path).record_sockets(stranger)
    text = (tmp_path / "sockets.jsonl").read_text(encoding="utf-8")
    (tmp_path / "sockets.jsonl").write_text(
        text.replace(f'"pid": {os.getpid()}', '"pid": 0'), encoding="utf-8"
    )
    assert clean_run(tmp_path) == []
    assert stranger.is_dir()


def test_a_folder_without_runs_is_named(tmp_path: Path) -> None:
    """A path that is not there is one line that says what to name."""
    assert find_runs(tmp_path) == []
    with pytest.raises(UsageError, match="name a run, or the folder that holds runs"):
        find_runs(tmp_path / "nosuch")


def test_scenarios_are_listed() -> None:
    """Every built-in scenario says in a line what it is about."""
    done = claimlab("scenarios", "--json")
    listed = {one["name"]: one["about"] for one in json.loads(done.stdout)["scenarios"]}
    assert {"default", "borg"} <= set(listed)
    assert all(listed.values())
