"""`claimlab run` and `claimlab judge` over real processes, and what they say of folders that are no run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from launch.check.finding import Kind
from launch.check.host import JOURNAL, check_host
from launch.check.report import Verdict
from tests.launch.cluster_runs import RUSH, claimlab, ended, run_until, write_scenario


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of two schemes, judged at its end."""
    folder = tmp_path_factory.mktemp("judge")
    out = folder / "run"
    path = write_scenario(folder, RUSH)
    done = run_until(ended(out, 4), out, path, "--scheme", "naive,claim", seconds=30)
    assert done.returncode == 0, done.stderr
    assert "the judge" in done.stdout and "wasted page-seconds" in done.stdout
    return out


def document(path: Path) -> dict[str, Any]:
    """judge.json."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def test_a_real_run_is_judged(run: Path) -> None:
    """Four builds of which two fit: claim refuses rightly, naive is overtaken, fails late and wastes."""
    judged = document(run / "judge.json")
    naive, claim = judged["schemes"]["naive"], judged["schemes"]["claim"]
    assert list(judged["schemes"]) == ["naive", "claim"]  # as the scenario has them
    assert naive["judged"] == claim["judged"] == 4
    assert claim["false_refusals"] == claim["false_grants"] == claim["overtaken"] == 0
    assert claim["late_failures"] == 0 == claim["wasted_page_seconds"]
    assert naive["late_failures"] >= 2 and naive["overtaken"] >= naive["late_failures"]
    assert naive["wasted_page_seconds"] > 10_000
    failures = [one["failure"] for host in judged["hosts"] for one in host["launches"] if one["failure"]]
    assert all(one["cause"] == "empty heap" and one["takers"] for one in failures)
    assert any("failed late by empty heap" in line for line in judged["witnesses"])
    assert "## The judge" in (run / "summary.md").read_text(encoding="utf-8")
    assert all(0 < host["build_time"] < 30 for host in judged["hosts"])


def test_judging_again_gives_the_same(run: Path) -> None:
    """`claimlab judge` reads nothing but the folder, and says what the run itself said."""
    done = claimlab("judge", run, "--json", "--jobs", 1)
    assert done.returncode == 0, done.stderr
    again, first = json.loads(done.stdout), document(run / "judge.json")
    for judged in (again, first):
        for host in judged["hosts"]:
            host.pop("seconds")
    assert again == first


def test_a_run_with_clock_notes_is_valid_and_a_moved_note_is_found(run: Path, tmp_path: Path) -> None:
    """Notes of the clock are part of the evidence: one that stands elsewhere is named."""
    host = Path(shutil.copytree(run / "claim" / "1" / "host0", tmp_path / "host0"))
    assert check_host(host, "host0", lambda _: None).verdict is Verdict.VALID
    path = host / JOURNAL
    path.write_bytes(path.read_bytes().replace(b"\xa6commit\xcd", b"\xa6commit\xce\x00\x00", 1))
    report = check_host(host, "host0", lambda _: None)
    assert report.findings and report.findings[0].kind in (Kind.DAMAGED, Kind.REORDERED)


@pytest.mark.parametrize("damage", ["journal", "orders", "outcomes", "strange", "absent"])
def test_what_cannot_be_judged_is_said_in_one_line(run: Path, tmp_path: Path, damage: str) -> None:
    """Damaged or missing files: exit code 2 and one line that names the file or the cure."""
    host = Path(shutil.copytree(run / "naive" / "1" / "host0", tmp_path / "host0"))
    if damage == "journal":
        content = (host / JOURNAL).read_bytes()
        (host / JOURNAL).write_bytes(content[:2000] + content[2100:])
    elif damage == "orders":
        (host / "orders.jsonl").unlink()
    elif damage == "outcomes":
        (host / "outcomes.jsonl").write_text("{}\n", encoding="utf-8")
    elif damage == "strange":
        (host / "orders.jsonl").write_bytes((host / "orders.jsonl").read_bytes().split(b"\n")[0] + b"\n")
    else:
        shutil.rmtree(host)
    done = claimlab("judge", host)
    assert done.returncode == 2 and not done.stdout
    last = done.stderr.strip().splitlines()[-1]
    if damage in ("outcomes", "strange"):
        assert ("line 1" if damage == "outcomes" else "tells of order") in last
        assert "copy the folder anew" in last
    named = {
        "journal": "claimlab check",
        "orders": "orders.jsonl",
        "outcomes": "outcomes.jsonl",
        "strange": "order ",
    }
    assert named.get(damage, "name one that claimlab run left") in last
