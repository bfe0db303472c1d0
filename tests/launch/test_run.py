"""`claimlab run` with real processes: what it prints, what it leaves, how it ends."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from hypervisor.journal import JournalReader
from tests.launch.cluster_runs import (
    PATIENCE,
    RUSH,
    SMALL,
    begin,
    claimlab,
    ended,
    pid_of,
    recorded,
    run_killing,
    run_until,
    still_there,
    summary,
    wait_until,
    write_scenario,
)

KEYS = {
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
}


FOR_EVER = ("--set", "duration=100000")
"""Longer than any test: it ends because somebody ends it."""


@pytest.fixture
def own_tmp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder that only this test's runs use; short, because sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="c") as name:
        monkeypatch.setenv("TMPDIR", name)
        yield Path(name)


def left_in(folder: Path) -> list[str]:
    """What a run left in the temporary folder."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("pymp-"))


@pytest.mark.rule("W1", "H12", "I10")
def test_three_schemes_on_the_same_burst(tmp_path: Path, own_tmp: Path) -> None:
    """naive fails late what it admitted, claim and clamp refuse at once and finish what they admit."""
    rushed, run = tmp_path / "runs" / "rushed", tmp_path / "runs" / "one"
    crowd = write_scenario(tmp_path, RUSH)
    done = run_until(ended(rushed, 4), rushed, crowd, "--scheme", "naive", "--json", seconds=30)
    assert done.returncode == 0, done.stderr
    naive = json.loads(done.stdout)["schemes"]["naive"]
    path = write_scenario(tmp_path)
    done = run_until(ended(run, 4), run, path, "--scheme", "claim,clamp", "--json", seconds=30)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document == summary(run)
    assert set(document) == {"valid", "seed", "release", "speed", "schemes"}
    claim, clamp = (document["schemes"][name] for name in ("claim", "clamp"))
    assert all(set(one) == KEYS for one in (naive, claim, clamp))
    assert naive["launches"] == claim["launches"] == clamp["launches"] == 4
    assert (naive["admitted"], naive["refused"]) == (4, 0)
    assert 2 <= naive["failed_late"] <= 4
    assert naive["pages_discarded"] > 0
    assert (claim["admitted"], claim["refused"], claim["failed_late"]) == (2, 2, 0)
    assert (clamp["failed_late"], clamp["pages_discarded"]) == (0, 0)
    assert clamp["hypercalls_per_launch"] > claim["hypercalls_per_launch"] > naive["hypercalls_per_launch"]
    assert naive["leftovers"] == claim["leftovers"] == clamp["leftovers"] == 0
    assert not still_there(run) and not still_there(rushed)
    assert left_in(own_tmp) == []


@pytest.mark.parametrize("out", [None, "given"])
def test_a_run_that_cannot_begin_leaves_nothing(tmp_path: Path, out: str | None) -> None:
    """Guests that do not fit after all are one line; no folder remains, and `latest` stays where it was."""
    folder = tmp_path / "here"
    runs = folder / "runs"
    for made in (runs / "earlier", folder / "given"):
        made.mkdir(parents=True)
    for link in (runs / "latest", folder / "latest"):
        link.symlink_to("earlier")
    crowded = SMALL.replace('count = 4\nmemory = "64MiB"', 'count = 29\nmemory = "32MiB"')
    scenario = write_scenario(tmp_path, crowded)
    arguments = [] if out is None else ["--out", out]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = claimlab("run", scenario, *arguments, cwd=folder, env=environment)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "lower guests.count" in done.stderr and "Traceback" not in done.stderr
    assert sorted(path.name for path in runs.iterdir()) == ["earlier", "latest"]
    assert os.readlink(folder / "latest") == os.readlink(runs / "latest") == "earlier"
    assert list((folder / "given").iterdir()) == []


def test_the_folder_it_leaves(tmp_path: Path) -> None:
    """RUN holds scenario, seed, versions, pids, summary, and a journal with a log for each scheme."""
    run = tmp_path / "runs" / "one"
    host = run / "claim" / "1" / "host0"

    def reported(_done: object) -> bool:
        return len(list((host / "guests").glob("guest-*.json"))) == 4 + 2 and ended(run, 4)()

    path = write_scenario(tmp_path)
    done = run_until(reported, run, path, "--scheme", "claim", "--seed", 7, seconds=30)
    assert done.returncode == 0, done.stderr
    names = {path.name for path in run.iterdir()}
    assert names >= {"scenario.toml", "scenario.json", "seed", "versions.json", "pids.jsonl", "summary.json"}
    assert (run / "seed").read_text() == "7\n"
    assert (run / "summary.md").read_text().startswith("# small: release 4.17, seed 7, valid")
    assert (run.parent / "latest").resolve() == run.resolve()
    with (host / "journal.msgpack").open("rb") as file:
        commits = [record.commit for record in JournalReader(file).steps()]
    assert commits == list(range(1, len(commits) + 1))
    assert (host / "toolstack-0.log").exists()
    outcomes = [json.loads(line) for line in (host / "outcomes.jsonl").read_text().splitlines()]
    assert {one["stage"] for one in outcomes} == {"admitted", "refused", "built"}
    assert all(one["commit"] > 0 for one in outcomes)
    assert len(list((host / "guests").glob("guest-*.json"))) == 4 + 2
    assert {entry["role"] for entry in recorded(run)} >= {"hypervisor", "toolstack-0", "guest-1-1"}


def test_release_and_guests_set_from_the_command_line(tmp_path: Path) -> None:
    """--set changes release, guests and transport of a scenario file; PV works as well as HVM."""
    run = tmp_path / "run"
    done = claimlab(
        *("run", write_scenario(tmp_path), "--scheme", "claim", "--out", run, "--json"),
        *("--set", "release=4.22", "--set", "guests.count=2", "--set", "guests.kind=pv"),
        *("--set", "toolstack.builder=pv-4.17", "--set", "arrivals.lifetime=5", "--set", "transport=tcp"),
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["release"] == "4.22"
    assert document["schemes"]["claim"]["failed_late"] == 0
    assert sum(entry["role"] in {"guest-1-1", "guest-2-2"} for entry in recorded(run)) == 2


@pytest.mark.rule("C33", "H22")
def test_kill_9_of_the_toolstack_in_mid_build(tmp_path: Path) -> None:
    """The run goes on; the half-built domains and their claims are listed as leftovers."""
    run = tmp_path / "run"
    scenario = write_scenario(tmp_path, SMALL.replace("pages_per_second = 6000", "pages_per_second = 1000"))
    history = run / "claim" / "1" / "host0" / "toolstack-0.history"

    def in_mid_build() -> bool:
        return history.exists() and history.stat().st_size > 4000

    done = run_killing(
        "toolstack-0",
        in_mid_build,
        run,
        scenario,
        "--scheme",
        "claim",
        "--json",
        seconds=30,
        wanted="half-built",
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["valid"]
    assert document["schemes"]["claim"]["leftovers"] > 0
    text = (run / "summary.md").read_text()
    assert "half-built" in text
    assert "a claim of" in text
    assert "was ended by signal 9" in text
    assert not still_there(run)


@pytest.mark.rule("I1")
def test_kill_9_of_a_guest(tmp_path: Path) -> None:
    """The run goes on to its end, says who died, and the books balance."""
    run = tmp_path / "run"
    path = write_scenario(tmp_path)
    up = partial(pid_of, run, "toolstack-0")
    done = run_killing("guest-2-2", up, run, path, "--scheme", "claim", "--json", seconds=30)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["valid"]
    assert "guest-2-2" in (run / "summary.md").read_text()
    assert "was ended by signal 9" in (run / "summary.md").read_text()
    assert not still_there(run)


def test_kill_9_of_the_hypervisor_is_an_invalid_run(tmp_path: Path) -> None:
    """Without its hypervisor a run ends early, with a clear word, exit code 1 and nothing left running."""
    run = tmp_path / "run"
    up = partial(pid_of, run, "toolstack-0")
    path = write_scenario(tmp_path)
    done = run_killing("hypervisor", up, run, path, "--scheme", "claim", seconds=30)
    assert done.returncode == 1
    assert "the run ended early: hypervisor" in " ".join(done.stdout.split())
    assert not still_there(run)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_runs_leave_nothing_behind(tmp_path: Path, own_tmp: Path, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM stop every process of the run by its own handle."""
    run = tmp_path / "run"
    started = begin("run", write_scenario(tmp_path), "--scheme", "claim", *FOR_EVER, "--out", run)
    wait_until(lambda: pid_of(run, "toolstack-0"))
    started.send_signal(number)
    _, errors = started.communicate(timeout=PATIENCE)
    assert started.returncode == 128 + number
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert not still_there(run)
    assert left_in(own_tmp) == []
    assert (run.parent / "latest").resolve() == run.resolve()


def test_killed_launcher_takes_its_processes_along(tmp_path: Path) -> None:
    """After kill -9 of `claimlab run` itself every process it had started ends by itself."""
    run = tmp_path / "run"
    started = begin("run", write_scenario(tmp_path), "--scheme", "claim", *FOR_EVER, "--out", run)
    wait_until(lambda: pid_of(run, "toolstack-0"))
    started.kill()
    started.communicate(timeout=PATIENCE)
    wait_until(lambda: not still_there(run))
