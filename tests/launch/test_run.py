"""`claimlab run` with real processes: what it prints, what it leaves, how it ends."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypervisor.journal import JournalReader
from tests.launch.cluster_runs import (
    PATIENCE,
    SMALL,
    begin,
    claimlab,
    pid_of,
    recorded,
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
    run = tmp_path / "runs" / "one"
    # Longer than the builds take even on a slow machine: naive's must have had the time to fall short.
    scenario = write_scenario(tmp_path, SMALL.replace("duration = 30", "duration = 120"))
    done = claimlab("run", scenario, "--out", run, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document == summary(run)
    assert set(document) == {"valid", "seed", "release", "speed", "schemes"}
    naive, claim, clamp = (document["schemes"][name] for name in ("naive", "claim", "clamp"))
    assert all(set(one) == KEYS for one in (naive, claim, clamp))
    assert naive["launches"] == claim["launches"] == clamp["launches"] == 4
    assert naive["failed_late"] > 0
    assert naive["pages_discarded"] > 0
    assert (claim["admitted"], claim["refused"], claim["failed_late"]) == (2, 2, 0)
    assert (clamp["failed_late"], clamp["pages_discarded"]) == (0, 0)
    assert clamp["hypercalls_per_launch"] > claim["hypercalls_per_launch"] > naive["hypercalls_per_launch"]
    assert naive["leftovers"] == claim["leftovers"] == clamp["leftovers"] == 0
    assert not still_there(run)
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
    done = claimlab("run", write_scenario(tmp_path), "--scheme", "claim", "--seed", 7, "--out", run)
    assert done.returncode == 0, done.stderr
    names = {path.name for path in run.iterdir()}
    assert names >= {"scenario.toml", "scenario.json", "seed", "versions.json", "pids.jsonl", "summary.json"}
    assert (run / "seed").read_text() == "7\n"
    assert (run / "summary.md").read_text().startswith("# small: release 4.17, seed 7, valid")
    assert (run.parent / "latest").resolve() == run.resolve()
    host = run / "claim" / "1" / "host0"
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
    started = begin("run", scenario, "--scheme", "claim", "--out", run, "--json")
    journal = run / "claim" / "1" / "host0" / "toolstack-0.history"
    wait_until(lambda: journal.exists() and journal.stat().st_size > 4000)
    pid = pid_of(run, "toolstack-0")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    output, errors = started.communicate(timeout=PATIENCE)
    assert started.returncode == 0, errors
    document = json.loads(output)
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
    started = begin("run", write_scenario(tmp_path), "--scheme", "claim", "--out", run, "--json")
    wait_until(lambda: pid_of(run, "toolstack-0"))
    pid = pid_of(run, "guest-2-2")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    output, errors = started.communicate(timeout=PATIENCE)
    assert started.returncode == 0, errors
    assert json.loads(output)["valid"]
    assert "guest-2-2" in (run / "summary.md").read_text()
    assert "was ended by signal 9" in (run / "summary.md").read_text()
    assert not still_there(run)


def test_kill_9_of_the_hypervisor_is_an_invalid_run(tmp_path: Path) -> None:
    """Without its hypervisor a run ends early, with a clear word, exit code 1 and nothing left running."""
    run = tmp_path / "run"
    started = begin("run", write_scenario(tmp_path), "--scheme", "claim", "--out", run)
    wait_until(lambda: pid_of(run, "toolstack-0"))
    pid = pid_of(run, "hypervisor")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    output, _ = started.communicate(timeout=PATIENCE)
    assert started.returncode == 1
    assert "the run ended early: hypervisor" in " ".join(output.split())
    assert not still_there(run)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_runs_leave_nothing_behind(tmp_path: Path, own_tmp: Path, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM stop every process of the run by its own handle."""
    run = tmp_path / "run"
    started = begin("run", write_scenario(tmp_path), "--scheme", "claim", "--out", run)
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
    started = begin("run", write_scenario(tmp_path), "--scheme", "claim", "--out", run)
    wait_until(lambda: pid_of(run, "toolstack-0"))
    started.kill()
    started.communicate(timeout=PATIENCE)
    wait_until(lambda: not still_there(run))
