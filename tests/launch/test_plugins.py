"""Toolstacks and behaviours that are not ours: foreign processes, classes handed over, classes that fail."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hypervisor.public.domctl import MaxMem
from hypervisor.public.units import Pages, Seconds
from launch.cluster.host_plan import Plugins
from launch.cluster.run import check_run, run_scenario
from launch.results import open_results
from launch.scenario.load import load_scenario
from launch.summary import Report
from tests.launch.cluster_runs import (
    SMALL,
    Done,
    claimlab,
    ended,
    longer,
    run_with_foreign,
    still_there,
    write_scenario,
)
from toolstack.interface import Launch, LaunchRefusedError, Scheme, read_domains


def test_a_foreign_toolstack_takes_part(tmp_path: Path) -> None:
    """A program of plain pyzmq and msgpack enlists, builds and refuses; its domains run as guests."""
    run = tmp_path / "run"
    program = [sys.executable, Path(__file__).parent / "foreign_toolstack.py"]
    reports = run / "foreign" / "1" / "host0" / "guests"

    def reported(_done: Done) -> bool:
        return ended(run, 4)() and len(list(reports.glob("guest-*.json"))) == 4 + 2

    path = write_scenario(tmp_path)
    done = run_with_foreign(program, run, path, "--json", seconds=30, over=reported)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)["schemes"]["foreign"]
    assert (figures["launches"], figures["admitted"], figures["refused"]) == (4, 2, 2)
    assert len(list(reports.glob("guest-*.json"))) == 4 + 2
    assert not still_there(run)


def run_with(tmp_path: Path, plugins: Plugins, *sets: str, over: Callable[[Report], object]) -> Report:
    """A small run with classes handed over, in tmp_path/run; longer until it is `over`."""

    def attempt(times: int) -> Report:
        if (tmp_path / "run").exists():
            shutil.rmtree(tmp_path / "run")
        loaded = load_scenario(write_scenario(tmp_path, SMALL), (*sets, f"duration={30 * times}"))
        check_run(loaded, plugins)
        results = open_results(loaded, tmp_path / "run", datetime.now(UTC))
        return run_scenario(loaded, results, print, plugins)

    return longer(attempt, over)


def refused(*schemes: str) -> Callable[[Report], bool]:
    """Whether these have refused all four launches."""
    return lambda report: all(report.summary.schemes[one].refused == 4 for one in schemes)


def test_classes_without_a_module_reach_their_process(tmp_path: Path) -> None:
    """A scheme and a behaviour defined in a function, as in a notebook, work in their processes."""

    class Never(Scheme):
        """Refuses everything."""

        async def admit_before_create(self, launch: Launch) -> bool:
            raise LaunchRefusedError("never")

    class Still:
        """Stays where it is."""

        def aim(self, target: Pages, current: Pages, now: Seconds) -> Pages:
            return current

    plugins = Plugins({"never": Never}, {"still": lambda **_options: Still()})
    sets = ('schemes=["never"]', "guests.behaviour=still", "guests.swap=64MiB")
    report = run_with(tmp_path, plugins, *sets, over=refused("never"))
    figures = report.summary.schemes["never"]
    assert (figures.refused, figures.admitted) == (4, 0)
    assert report.summary.valid
    reports = (tmp_path / "run" / "never" / "1" / "host0" / "guests").glob("guest-*.json")
    assert {json.loads(path.read_text())["populate_calls"] for path in reports} == {0}


class Raises(Scheme):
    """A plug-in with a fault of its own."""

    async def admit_before_create(self, launch: Launch) -> bool:
        raise ZeroDivisionError("a fault of its own")


FAULT = 'ZeroDivisionError("a fault of its own")'


def test_a_plug_in_that_raises_is_named(tmp_path: Path) -> None:
    """Its launches count as refused, the summary names the fault, the run goes on to its end."""
    plugins = Plugins({"raises": Raises})
    report = run_with(tmp_path, plugins, 'schemes=["raises", "claim"]', over=refused("raises"))
    assert report.summary.schemes["raises"].refused == 4
    assert report.summary.schemes["claim"].failed_late == 0
    (note,) = [line for line in report.notes if line.startswith("raises: the scheme raised: ")]
    place = f"in admit_before_create: raise {FAULT}"
    assert note.partition("raised: ")[2].startswith("ZeroDivisionError: a fault of its own; at ")
    assert note.endswith(place) and note.count("; at ") == 1 and "service.py" not in note


class Hangs(Scheme):
    """A plug-in that never answers."""

    async def admit_at_claim(self, launch: Launch, pages: Pages) -> None:
        await launch.world.sleep(1e9)


class Nonsense(Scheme):
    """A plug-in that answers what is no answer."""

    async def admit_before_create(self, launch: Launch) -> bool:
        return "perhaps"  # type: ignore[return-value]


class Leaks(Scheme):
    """A plug-in that lowers a guest's max_pages and forgets it."""

    async def admit_before_create(self, launch: Launch) -> bool:
        domains, commit = await read_domains(launch.world)
        await launch.world.hypercall(MaxMem(domains[0].domid, 4))
        raise LaunchRefusedError("lowered it", commit)


class Spins(Scheme):
    """A plug-in that keeps its process to itself for ever."""

    async def admit_before_create(self, launch: Launch) -> bool:
        while True:
            pass


def test_plug_ins_that_misbehave_are_named(tmp_path: Path) -> None:
    """One that hangs, one that answers nonsense and one that leaks a clamp are named; the rest goes on."""
    plugins = Plugins({"hangs": Hangs, "nonsense": Nonsense, "leaks": Leaks})

    def all_asked(report: Report) -> bool:
        waited = "dismissed while it waited for admit_at_claim" in " ".join(report.notes)
        return (
            waited and report.summary.schemes["hangs"].launches == 4 and refused("nonsense", "leaks")(report)
        )

    schemes = 'schemes=["hangs", "nonsense", "leaks", "claim"]'
    report = run_with(tmp_path, plugins, schemes, over=all_asked)
    notes = " ".join(report.notes)
    assert "hangs: 4 launches undecided at the end" in notes
    assert "dismissed while it waited for admit_at_claim of the scheme" in notes
    assert "admit_before_create answered 'perhaps': True admits" in notes
    assert report.summary.schemes["nonsense"].refused == 4
    assert any("max_pages 1 instead of" in line for line in report.leftovers["leaks"])
    assert report.summary.schemes["hangs"].leftovers == 0
    assert report.summary.schemes["claim"].leftovers == 0


@pytest.mark.long
def test_a_plug_in_that_spins_is_stopped(tmp_path: Path) -> None:
    """A toolstack that answers nobody any more is stopped after its time and named, and nothing runs on."""

    def stopped(report: Report) -> bool:
        return any("no farewell within" in line for line in report.notes)

    plugins = Plugins({"spins": Spins})
    report = run_with(tmp_path, plugins, 'schemes=["spins", "claim"]', over=stopped)
    assert any("no farewell within" in line for line in report.notes)
    assert report.summary.schemes["claim"].leftovers == 0
    assert not still_there(tmp_path / "run")


class Crashes:
    """A behaviour that ends its guest's process at its first look."""

    def aim(self, target: Pages, current: Pages, now: Seconds) -> Pages:
        raise SystemExit(3)


def test_a_guest_that_cannot_start_ends_the_run_with_a_word(tmp_path: Path) -> None:
    """Exit code 1 and the guest's name, no traceback of ours, nothing left running."""
    scenario = write_scenario(tmp_path)
    behaviour = "guests.behaviour=tests.launch.test_plugins:Crashes"
    done = claimlab("run", scenario, "--scheme", "claim", "--out", tmp_path / "run", "--set", behaviour)
    assert done.returncode == 1
    assert "the run ended early" in " ".join(done.stdout.split())
    assert "exit code 3" in " ".join(done.stdout.split())
    assert "Traceback" not in done.stderr
    assert not still_there(tmp_path / "run")
