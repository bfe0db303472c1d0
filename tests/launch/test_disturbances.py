"""[[holds]] and [[faults]]: stopping, killing, pausing and restarting parties, in both worlds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hypervisor.journal import JournalReader, NoteRecord
from hypervisor.public.domctl import MaxMem
from hypervisor.public.memory import PopulatePhysmap
from hypervisor.public.points import POINTS, point
from launch.cluster.host_plan import Plugins
from launch.cluster.rounds import plan_hosts
from launch.errors import ScenarioError
from launch.launches import Verdict, fold
from launch.scenario.load import load_scenario
from launch.simulate.host_run import VirtualResult, run_virtual
from tests.launch.cluster_runs import Done, claimlab, ended, run_until, still_there, write_scenario
from tests.launch.held import HELD, HOLDS

KILLED_AT_POINT = '\n[[faults]]\nkind = "kill"\nparty = "toolstack"\nat = "chunk-populated"\n'
SMALLER = HELD.replace('"150MiB"\nat', '"100MiB"\nat')


def simulated(folder: Path, text: str, scheme: str = "clamp", place: Path | None = None) -> VirtualResult:
    """A run in virtual time."""
    scenario = load_scenario(write_scenario(folder, text)).scenario
    return run_virtual(plan_hosts(scenario, Plugins())[0], scheme, folder=place)


def fault(**keys: object) -> str:
    """A [[faults]] table."""
    return "\n[[faults]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())


def verdicts(result: VirtualResult) -> list[Verdict]:
    """How each launch ended."""
    return [one.verdict for one in fold(result.ordered_at, result.outcomes)]


def first_commits(host: Path) -> tuple[int, int]:
    """Of a guest's first populate, and of the last max_mem before it."""
    clamped = 0
    with (host / "journal.msgpack").open("rb") as file:
        for record in JournalReader(file).steps():
            if isinstance(record.request, PopulatePhysmap) and record.caller[0]:
                return record.commit, clamped
            if isinstance(record.request, MaxMem):
                clamped = record.commit
    raise AssertionError("no guest ever populated")


def test_a_hold_turns_the_outcome(tmp_path: Path) -> None:
    """Guests that grow before the launch leave it no room; held until it has clamped, they are refused."""
    free, held = simulated(tmp_path, HELD), simulated(tmp_path, HELD + HOLDS)
    assert verdicts(free) == [Verdict.REFUSED]
    assert sum(one.pages_refused for one in free.reports) == 0
    assert verdicts(held) == [Verdict.BUILT]
    assert sum(one.populate_calls_refused for one in held.reports) > 0
    assert sum("until toolstack" in line and "from 10.0" in line for line in held.notes) == 2


def told_of(run: Path) -> str:
    """The summary for people."""
    return (run / "summary.md").read_text(encoding="utf-8")


@pytest.mark.rule("I12")
def test_a_held_scenario_has_one_outcome_in_both_worlds(tmp_path: Path) -> None:
    """With real processes as in virtual time the guests populate after the clamp, and the launch is built."""
    run = tmp_path / "run"
    path = write_scenario(tmp_path, HELD + HOLDS)
    done = run_until(ended(run, 1), run, path, "--json", seconds=40)
    assert done.returncode == 0, done.stderr
    real = json.loads(done.stdout)["schemes"]["clamp"]
    virtual = simulated(tmp_path, HELD + HOLDS, place=tmp_path / "virtual")
    assert (real["admitted"], real["failed_late"]) == (1, 0) and verdicts(virtual) == [Verdict.BUILT]
    assert sum(one.populate_calls_refused for one in virtual.reports) > 0
    for host in (run / "clamp" / "1" / "host0", tmp_path / "virtual"):
        populated, clamped = first_commits(host)
        assert populated > clamped > 0
    assert claimlab("check", run).returncode == 0
    held = re.findall(r"guest-\d at before-populate .* until toolstack\S*:clamped at", told_of(run))
    assert len(held) == 2


@pytest.mark.rule("I10", "C33")
def test_killed_at_a_point(tmp_path: Path) -> None:
    """A toolstack killed with its first chunk in place leaves exactly that; the run is valid all the same."""
    result = simulated(tmp_path, SMALLER + KILLED_AT_POINT, "claim")
    assert verdicts(result) == [Verdict.UNSETTLED]
    assert any("half-built, 160 pages" in line for line in result.leftovers)
    assert any("a claim of" in line for line in result.leftovers)
    assert any("toolstack-0 killed at 15." in line and "chunk-populated" in line for line in result.notes)
    assert result.violations == ()


def test_killed_at_a_point_for_real(tmp_path: Path) -> None:
    """With processes the same pages are left, whatever the machine's load."""
    run = tmp_path / "run"
    path = write_scenario(tmp_path, SMALLER + KILLED_AT_POINT)

    def killed(_done: Done) -> bool:
        return "toolstack-0 killed at" in told_of(run)

    done = run_until(killed, run, path, "--scheme", "claim", seconds=40)
    assert done.returncode == 0, done.stderr
    text = told_of(run)
    assert "half-built, 160 pages" in text and "toolstack-0 killed at" in text
    assert not still_there(run)


def test_pause_and_resume(tmp_path: Path) -> None:
    """A toolstack paused for 5 s between clamp and look answers 5 s later."""
    plain = simulated(tmp_path, SMALLER)
    paused = simulated(tmp_path, SMALLER + fault(kind="pause", party="toolstack", at="clamped", seconds=5))
    answers = [
        next(one.answered_after for one in fold(result.ordered_at, result.outcomes))
        for result in (plain, paused)
    ]
    assert answers[0] is not None and answers[1] is not None
    assert 5.0 <= answers[1] - answers[0] < 5.01
    assert verdicts(paused) == [Verdict.BUILT]


def test_a_paused_guest_sleeps_on(tmp_path: Path) -> None:
    """A guest paused at a second, until another party's point, asks for nothing meanwhile."""
    text = HELD + fault(kind="pause", party="guest-1", at=5)
    text += fault(kind="resume", party="guest-1", at="toolstack:checked")
    result = simulated(tmp_path, text, place=tmp_path / "host")
    assert verdicts(result) == [Verdict.BUILT]  # guest-2 alone has grown
    assert "fault: guest-1 paused at 5.000 s" in result.notes
    assert any(line.endswith(", at toolstack:checked") and "resumed at 15.0" in line for line in result.notes)
    admitted = next(one.commit for one in result.outcomes)
    begun = False  # its driver fills a gap when it boots, before second 0
    asked: list[int] = []
    with (tmp_path / "host" / "journal.msgpack").open("rb") as file:
        for record in JournalReader(file):
            if isinstance(record, NoteRecord):
                begun = begun or (record.kind == "clock" and record.fields["s"] >= 0)
            elif begun and isinstance(record.request, PopulatePhysmap) and record.caller == (1, 1):
                asked.append(record.commit)
    assert asked and min(asked) > admitted


def test_restarts(tmp_path: Path) -> None:
    """A guest is built anew as another domain, a toolstack enlists again; the launch after both is served."""
    text = SMALLER + fault(kind="restart", party="guest-2", at=5)
    text += fault(kind="restart", party="toolstack", at=10, seconds=2)
    result = simulated(tmp_path, text, place=tmp_path / "host")
    assert verdicts(result) == [Verdict.BUILT]
    assert [one.ending for one in result.reports].count("running") == 1
    assert {one.domid for one in result.reports} >= {1, 2, 3}
    assert (result.violations, result.leftovers) == ((), ())
    checked = claimlab("check", tmp_path / "host", "--json")
    assert checked.returncode == 0, checked.stdout


def test_a_killed_hypervisor_ends_the_run(tmp_path: Path) -> None:
    """Nothing can be said after it, so the run is invalid; what there was until then can be checked."""
    result = simulated(tmp_path, HELD + fault(kind="kill", party="hypervisor", at=12), place=tmp_path / "h")
    assert result.violations == ("the run ended early: the hypervisor was killed",)
    assert len(result.reports) == 2
    assert claimlab("check", tmp_path / "h").returncode == 0


def test_a_paused_hypervisor_makes_everybody_wait(tmp_path: Path) -> None:
    """Calls wait while the hypervisor is stopped: a launch ordered meanwhile is answered after."""
    result = simulated(tmp_path, SMALLER + fault(kind="pause", party="hypervisor", at=14, seconds=6), "claim")
    (launch,) = fold(result.ordered_at, result.outcomes)
    assert launch.verdict is Verdict.BUILT
    assert launch.answered_after is not None and 5.0 <= launch.answered_after < 5.1


@pytest.mark.parametrize(
    ("keys", "cure"),
    [
        ({"kind": "kill", "party": "guest-3", "at": 5}, "no guest-3 (guests.count = 2"),
        ({"kind": "kill", "party": "guest-1", "at": "before-poplate"}, "did you mean 'before-populate'"),
        ({"kind": "restart", "party": "launch-1", "at": 5}, "cannot be restarted"),
        ({"kind": "kill", "party": "guest-1", "at": 50}, "is not before the end"),
        ({"kind": "kill", "party": "hypervisor", "at": "clamped"}, "has no points"),
        ({"kind": "kill", "party": "guest-1", "at": 5, "seconds": 3}, "has no length"),
        ({"kind": "kil", "party": "guest-1", "at": 5}, "did you mean"),
        ({"kind": "kill", "party": "dom0", "at": 5}, "party"),
    ],
)
def test_impossible_faults(tmp_path: Path, keys: dict[str, object], cure: str) -> None:
    """One line with the key and the cure."""
    with pytest.raises(ScenarioError) as refused:
        load_scenario(write_scenario(tmp_path, HELD + fault(**keys)))
    assert cure in str(refused.value) and "faults" in str(refused.value)


def test_every_point_is_announced() -> None:
    """The table of points and the code that announces them name the same ones."""
    found: set[str] = set()
    for package in ("guests", "toolstack"):
        for path in Path(package).rglob("*.py"):
            parts = path.read_text(encoding="utf-8").split("await point(")[1:]
            found |= {part.split('"')[1] for part in parts}
    assert found == set(POINTS)


def test_a_world_that_cannot_stop_goes_on() -> None:
    """Announcing a point to a world without stops returns at once."""
    with pytest.raises(StopIteration):
        point(object(), "sampled").send(None)


def test_the_points_of_the_manual_are_those_of_the_code() -> None:
    """docs/faults.md lists every point."""
    text = Path("docs/faults.md").read_text(encoding="utf-8").partition("## Holds")[0]
    listed = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    assert listed == list(POINTS)
