"""`claimlab reproduce`: a race of real processes, rebuilt, followed and shrunk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from launch.explore.execution import Execution
from launch.explore.footprint import Footprints
from launch.explore.shrink import all_acts
from launch.reproduce.evidence import host_folder
from launch.reproduce.follow import Follow, departure
from launch.reproduce.reproduce import rebuild
from launch.reproduce.saved import Saved, save
from launch.reproduce.witness import Witness
from tests.launch.cluster_runs import claimlab, ended, run_until, write_scenario
from tests.launch.races import CALM, HOLDS, RACE, SAMPLED


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of real processes in which the guest came between the look and the build."""
    folder = tmp_path_factory.mktemp("raced")
    path, run = write_scenario(folder, RACE + HOLDS), folder / "run"
    done = run_until(ended(run, 1), run, path, "--json", seconds=12)
    assert json.loads(done.stdout)["schemes"]["naive"]["failed_late"] == 1, done.stderr
    return run


REPLAYS = 100
"""Enough to make a few operations small, on a slow machine as on a fast one."""


def reproduced(*arguments: object) -> tuple[int, dict[str, Any]]:
    """Exit code and document."""
    done = claimlab("reproduce", *arguments, "--json")
    assert done.returncode < 2, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, document


@pytest.mark.rule("W1")
def test_a_race_of_real_processes_is_reproduced_and_shrunk(raced: Path) -> None:
    """The recorded interleaving gives the same replies and failure; the smallest keeps the guest."""
    code, document = reproduced(raced, "--budget", REPLAYS)
    assert (code, document["verdict"], document["departed"]) == (1, "reproduced", None)
    assert document["by_scheme"] and document["violation"]["kind"] == "late failure"
    rows = document["interleaving"]
    assert 4 <= document["operations"] <= min(7, document["operations_recorded"])
    assert [row["operation"] for row in rows][:2] == ["physinfo", "createdomain"]
    assert any(row["who"].endswith("guest 1") and row["operation"].startswith("populate") for row in rows)
    assert "late failure" in rows[-1]["untrue"] and rows[-1]["who"] == "a launch 1"
    again, replayed = reproduced("--replay", raced / "reproduced-1.json")
    assert again == 1 and document["replay"].endswith("reproduced-1.json")
    assert (replayed["interleaving"], replayed["violation"]) == (rows, document["violation"])


def test_a_schedule_that_violates_nothing_any_more_is_no_reproduction(raced: Path, tmp_path: Path) -> None:
    """It is told from a harmless one: a line that says so, and exit code 2."""
    assert reproduced(raced, "--budget", 20, "--out", tmp_path / "saved.json")[0] == 1
    saved = json.loads((tmp_path / "saved.json").read_text())
    saved["schedule"] = "a/-"  # the launch's first operation alone
    (tmp_path / "saved.json").write_text(json.dumps(saved))
    done = claimlab("reproduce", raced, "--replay", tmp_path / "saved.json")
    assert done.returncode == 2
    assert "gone: the schedule saved for a late failure violates nothing any more" in done.stdout


@pytest.mark.parametrize("host", ["../run/naive/1/host0", "/", "link/1/host0", "naive/1/host0"])
def test_a_run_of_somebody_elses_leads_nowhere_else(raced: Path, tmp_path: Path, host: str) -> None:
    """A host outside the run, and a symbolic link on the way or among the files, are refused by name."""
    run = Path(shutil.copytree(raced, tmp_path / "run"))
    (run / "link").symlink_to(raced / "naive")
    (run / "naive" / "1" / "host0" / "guests" / "guest-9-9.json").symlink_to("/etc/passwd")
    witness = Witness("late failure", host, 1, "")
    saved = Saved(
        witness=witness,
        before=0,
        end=9,
        by_scheme=False,
        at_once=False,
        schedule="-",
        violation="",
        detail="",
    )
    save(run / "saved.json", saved)
    done = claimlab("reproduce", "--replay", run / "saved.json")
    assert done.returncode == 2 and done.stdout == ""
    wanted = "a symbolic link, which no run leaves" if host[0] in "ln" else f"{host}: no host of"
    assert wanted in done.stderr


def test_a_toolstack_that_is_not_at_hand_does_what_it_did(raced: Path) -> None:
    """Without the scheme the recorded hypercalls fail alike, and the smallest keeps the guest."""
    copy = raced.parent / "copy" / "naive" / "1" / "host0"
    copy.parent.mkdir(parents=True)
    (raced / "naive" / "1" / "host0").rename(copy)
    try:
        code, document = reproduced(copy, "--budget", REPLAYS)
    finally:
        copy.rename(raced / "naive" / "1" / "host0")
    assert (code, document["by_scheme"], document["departed"]) == (1, False, None)
    assert document["violation"]["kind"] == "late failure"
    assert any(row["who"].endswith("guest 1") for row in document["interleaving"])


def test_no_late_failure_rests_on_what_nobody_knows(tmp_path: Path) -> None:
    """A builder that got one superpage of two would not have asked for 768 single pages behind both."""
    path = write_scenario(tmp_path, RACE.replace("duration = 12", "duration = 20") + HOLDS)
    slow = 'links={delay=0.3, parties=["toolstack"]}'  # the guest has all it wants before the build begins
    assert claimlab("simulate", path, "--set", slow, "--out", tmp_path / "run").returncode == 0
    host = (tmp_path / "run" / "naive" / "1" / "host0").rename(tmp_path / "host0")
    code, document = reproduced(host, "--budget", REPLAYS)
    assert (code, document["by_scheme"], document["departed"]) == (1, False, None)
    told = [(row["who"], row["operation"], row["saw"]) for row in document["interleaving"]]
    assert ("a launch 1", "populate domain 2: 2 x order 9", "1 of 2 done") in told
    assert any(who == "b guest 1" and operation.startswith("populate") for who, operation, _ in told)


def test_what_departs_is_noticed(raced: Path) -> None:
    """A world that lacks one recorded operation is said to depart from the recording at that operation."""
    folder = host_folder(raced / "naive" / "1" / "host0")
    rebuilt = rebuild(folder, Witness("late failure", ".", 1, ""))
    assert rebuilt.departed is None and rebuilt.finding is not None
    first = next(one for one in rebuilt.recording.operations if one.caller.domid)
    (number,) = (index for index, role in enumerate(rebuilt.roles) if first in role.operations)
    kept = all_acts(rebuilt.blueprint) - {(number, rebuilt.roles[number].operations.index(first))}
    execution = Execution(rebuilt.blueprint, Footprints(), kept)
    execution.run(Follow(rebuilt.recording, rebuilt.roles), stop_at_violation=True)
    assert departure(rebuilt.recording, execution) == first.first


def test_nobody_wronged(tmp_path: Path) -> None:
    """A run without a race has no witness: there is nothing to reproduce, and that is no fault."""
    run = tmp_path / "run"
    assert claimlab("simulate", write_scenario(tmp_path, CALM), "--out", run).returncode == 0
    done = claimlab("reproduce", run, "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"witnesses": []})
    listed = claimlab("reproduce", run, "--list")
    assert listed.stdout.startswith("no late failure, false grant, false refusal or window")
    beyond = claimlab("reproduce", run, "--witness", "2")
    assert beyond.returncode == 2 and beyond.stderr.endswith("--witness 2: this run has none at all\n")


@pytest.mark.parametrize(
    ("scheme", "text", "witness", "kind", "last"),
    [
        ("clamp", RACE + SAMPLED, "moved window", "limit overtaken", "max_mem domain 1"),
        ("static", CALM, "false refusal", "false refusal", "physinfo"),
        (
            "tests.launch.races:Yes",
            CALM.replace("5MiB", "7MiB"),
            "late failure",
            "false grant",
            "createdomain",
        ),
    ],
)
def test_what_became_untrue(
    tmp_path: Path, scheme: str, text: str, witness: str, kind: str, last: str
) -> None:
    """Limits, refusals and grants are judged by what is true, whatever scheme there is."""
    run = tmp_path / "run"
    path = write_scenario(tmp_path, text.replace('"naive"', f'"{scheme}"'))
    assert claimlab("simulate", path, "--out", run, "--no-judge").returncode == 0
    if ":" in scheme:  # somebody's own class: it is not imported because a run says so
        document = reproduced(run, "--budget", 20)[1]
        assert not document["by_scheme"]
    code, document = reproduced(run, "--budget", 50, "--scheme", scheme)
    assert (code, document["departed"], document["by_scheme"]) == (1, None, True)
    assert document["replay"].endswith(f" --scheme {scheme}") is (":" in scheme)
    assert (document["witness"]["kind"], document["violation"]["kind"]) == (witness, kind)
    assert document["interleaving"][-1]["operation"].startswith(last)
