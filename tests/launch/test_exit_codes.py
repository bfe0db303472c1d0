"""What scripts rely on: 0 all is well, 1 something is wrong with what was looked at, 2 nobody can tell."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launch.cli import main
from launch.commands import explore
from tests.launch.cluster_runs import claimlab, write_scenario
from tests.launch.races import CALM

MISSING = "does-not-exist"


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which nothing went wrong."""
    folder = tmp_path_factory.mktemp("calm")
    done = claimlab("simulate", write_scenario(folder, CALM), "--out", folder / "run", "--no-judge")
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which a launch was refused that would have fitted."""
    folder = tmp_path_factory.mktemp("refused")
    path = write_scenario(folder, CALM.replace('"naive"', '"static"'))
    assert claimlab("simulate", path, "--out", folder / "run", "--no-judge").returncode == 0
    return folder / "run"


def test_valid_invalid_and_unknown(calm: Path, refused: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """check, judge, explore and reproduce give 0 for valid, 1 for invalid, 2 for unknown or usage."""

    def code(*arguments: object) -> int:
        """Of the command; a 2 must say in one line why."""
        number = main([str(one) for one in arguments])
        if number == 2 and arguments[0] != "explore":
            assert capfd.readouterr().err.strip(), arguments
        return number

    assert [code("check", calm), code("judge", calm), code("reproduce", calm)] == [0, 0, 0]
    assert code("explore", "claim-two-domains", "--set", "release=4.22", "--budget", "5000") == 0
    # A judge that finds somebody wronged has judged well.
    assert [code("judge", refused), code("reproduce", refused)] == [0, 1]
    assert code("explore", "toctou", "--budget", "5000") == 1
    assert code("explore", "claim-two-domains", "--set", "release=4.22", "--budget", "1") == 2
    for arguments in (
        ("check", MISSING),
        ("judge", MISSING),
        ("explore", MISSING),
        ("reproduce", MISSING),
        ("reproduce",),
        ("reproduce", "--replay", MISSING),
        ("reproduce", refused, "--witness", 9),
        ("reproduce", refused, "--budget", "soon"),
        ("reproduce", calm, "--witness", 2),
        ("check", calm, "--budget", "9"),
    ):
        assert code(*arguments) == 2, arguments
    journal = next(calm.rglob("journal.msgpack"))
    os.truncate(journal, journal.stat().st_size - 100)
    assert [code("check", calm), code("judge", calm)] == [1, 0]
    os.truncate(journal, 0)
    assert [code(name, calm) for name in ("check", "judge", "reproduce")] == [2, 2, 2]


def test_an_error_of_our_own_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever breaks off has found nothing: 2 and not Python's 1, with the traceback."""

    def broken(_name: str, _scheme: object, _changes: object) -> object:
        raise RuntimeError("broken")

    monkeypatch.setattr(explore, "asked", broken)
    assert main(["explore", "toctou"]) == 2
    printed = capsys.readouterr().err.splitlines()
    assert printed[-2:] == [
        "RuntimeError: broken",
        "claimlab: broken off by an error in claimlab, or in a plug-in: nothing is concluded",
    ]
