"""`claimlab reproduce`: a race of real processes, rebuilt, followed and shrunk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launch.explore.execution import Execution
from launch.explore.footprint import Footprints
from launch.explore.shrink import all_acts
from launch.reproduce.evidence import host_folder
from launch.reproduce.follow import Follow, departure
from launch.reproduce.reproduce import rebuild
from launch.reproduce.witness import Witness
from tests.launch.cluster_runs import claimlab, write_scenario
from tests.launch.races import CALM, HOLDS, RACE, SAMPLED


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of real processes in which the guest came between the look and the build."""
    folder = tmp_path_factory.mktemp("raced")
    done = claimlab("run", write_scenario(folder, RACE + HOLDS), "--out", folder / "run", "--json")
    assert json.loads(done.stdout)["schemes"]["naive"]["failed_late"] == 1, done.stderr
    return folder / "run"


def reproduced(*arguments: object) -> tuple[int, dict[str, Any]]:
    """Exit code and document."""
    done = claimlab("reproduce", *arguments, "--json")
    assert done.returncode < 2, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, document


@pytest.mark.rule("W1")
def test_a_race_of_real_processes_is_reproduced_and_shrunk(raced: Path) -> None:
    """The recorded interleaving gives the same replies and failure; the smallest keeps the guest."""
    code, document = reproduced(raced, "--budget", "5s")
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


def test_a_toolstack_that_is_not_at_hand_does_what_it_did(raced: Path) -> None:
    """Without the scheme the recorded hypercalls fail alike, and the smallest keeps the guest."""
    copy = raced.parent / "copy" / "naive" / "1" / "host0"
    copy.parent.mkdir(parents=True)
    (raced / "naive" / "1" / "host0").rename(copy)
    try:
        code, document = reproduced(copy, "--budget", "5s")
    finally:
        copy.rename(raced / "naive" / "1" / "host0")
    assert (code, document["by_scheme"], document["departed"]) == (1, False, None)
    assert document["violation"]["kind"] == "late failure"
    assert any(row["who"].endswith("guest 1") for row in document["interleaving"])


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
    code, document = reproduced(run, "--budget", "3s")
    assert (code, document["departed"], document["by_scheme"]) == (1, None, True)
    assert (document["witness"]["kind"], document["violation"]["kind"]) == (witness, kind)
    assert document["interleaving"][-1]["operation"].startswith(last)
