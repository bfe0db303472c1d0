"""`claimlab check` over real runs: valid as left, and every way of tampering found and named."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgpack
import pytest

from launch.check.finding import Finding, Kind
from launch.check.host import JOURNAL, check_host
from launch.check.report import HostReport, Verdict
from tests.launch.cluster_runs import SMALL, claimlab, run_killing, run_until, write_scenario

Records = list[Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of the claim scheme."""
    folder = tmp_path_factory.mktemp("check")
    out = folder / "run"
    host = out / "claim" / "1" / "host0"

    def enough(_done: object) -> bool:
        return len(read(host / "toolstack-0.history")) > 60  # to tamper with; some 100 usually

    done = run_until(enough, out, write_scenario(folder), "--scheme", "claim", seconds=12)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def host(run: Path, tmp_path: Path) -> Path:
    """A copy of its host's folder, to be tampered with."""
    return Path(shutil.copytree(run / "claim" / "1" / "host0", tmp_path / "host0"))


def read(path: Path) -> Records:
    """Header and records."""
    with path.open("rb") as file:
        return list(msgpack.Unpacker(file, raw=False, strict_map_key=False))


def write(path: Path, records: Records) -> None:
    """Header and records back into the file, as one would who knows to leave the checksums out."""
    records = [one for one in records if not isinstance(one, list) or one[0] != "sum"]
    path.write_bytes(b"".join(msgpack.packb(record) for record in records))


def checked(host: Path) -> HostReport:
    """The report of one folder."""
    return check_host(host, "host0", lambda _line: None)


def found(host: Path) -> Finding:
    """The first thing that is wrong with it."""
    report = checked(host)
    assert report.verdict is Verdict.INVALID
    return report.findings[0]


def blocks(records: Records, turns: int = 1) -> list[int]:
    """Indexes of the blocks of so many turns; index 0 is the header, so an index is the record's number."""
    return [
        number
        for number, one in enumerate(records)
        if isinstance(one, list) and len(one) == 6 and len(one[3]) >= turns
    ]


@pytest.mark.rule("I12", "I1")
def test_a_run_is_valid(run: Path) -> None:
    """Everything that a run of real processes left fits together, and every caller kept a history."""
    done = claimlab("check", run, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(done.stdout)
    (host,) = document["hosts"]
    assert document["verdict"] == "valid" and document["valid"]
    assert host["path"] == "claim/1/host0"
    stats = json.loads((run / "claim" / "1" / "host0" / "hypervisor.json").read_text())
    assert host["steps"] == stats["commit"] > 1000
    # a guest that is stopped while it waits for an answer leaves that call open
    assert host["returned"] + host["indefinite_happened"] == host["operations"] > 300
    assert host["indefinite"] <= len(list((run / "claim" / "1" / "host0").glob("guest-*.log")))
    assert (host["unrecorded"], host["findings"], host["notes"]) == (0, [], [])
    text = claimlab("check", run / "claim" / "1" / "host0")
    assert text.returncode == 0
    assert "operations/s" in text.stdout and text.stdout.endswith("host0: valid\n")


def test_hosts_are_shared_by_processes(run: Path, tmp_path: Path) -> None:
    """With --jobs every host is checked, and one that is wrong makes the run invalid."""
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    second = Path(shutil.copytree(copy / "claim" / "1", copy / "claim" / "2")) / "host0" / JOURNAL
    records = read(second)
    del records[blocks(records)[20]]
    write(second, records)
    done = claimlab("check", copy, "--jobs", 2, "--json")
    assert done.returncode == 1
    verdicts = {host["path"]: host["verdict"] for host in json.loads(done.stdout)["hosts"]}
    assert verdicts == {"claim/1/host0": "valid", "claim/2/host0": "invalid"}


def test_dropped_record(host: Path) -> None:
    """A journal without one of its blocks has a gap, at that record."""
    records = read(host / JOURNAL)
    at = next(one for one, following in pairwise(blocks(records)[100:]) if following == one + 1)
    commit = records[at][0]
    del records[at]
    write(host / JOURNAL, records)
    finding = found(host)
    assert (finding.kind, finding.file, finding.record) == (Kind.GAP, JOURNAL, at)
    assert re.search(f"commits? {commit} (is|to)", finding.text)


def test_dropped_call(host: Path) -> None:
    """A Call that is taken out of its block is missed at the next one."""
    records = read(host / JOURNAL)
    at = next(number for number in blocks(records)[100:] if not records[number][3] or records[number][2])
    del records[at][2][0]
    records[at][3:] = [[], [], 0]
    write(host / JOURNAL, records)
    assert found(host).kind in {Kind.GAP, Kind.REPLAY}


def test_swapped_records(host: Path) -> None:
    """Two blocks in the wrong order are told from a dropped one."""
    records = read(host / JOURNAL)
    one, other = next(pair for pair in pairwise(blocks(records)[100:]) if pair[1] == pair[0] + 1)
    records[one], records[other] = records[other], records[one]
    write(host / JOURNAL, records)
    finding = found(host)
    assert (finding.kind, finding.record) == (Kind.REORDERED, one)
    assert f"commit {records[other][0]} comes later" in finding.text


def test_swapped_turns(host: Path) -> None:
    """Two steps of different callers in the wrong order no longer replay, or meet the histories."""
    records = read(host / JOURNAL)
    calls = {n: call for at in blocks(records) for n, call in enumerate(records[at][2], records[at][1])}
    for at in blocks(records, 2)[50:]:
        turns = records[at][3]
        ends = [(n, calls[-a], calls[abs(b)]) for n, (a, b) in enumerate(pairwise(turns)) if a < 0]
        place = next((n for n, one, other in ends if one[:2] != other[:2]), None)
        if place is not None:
            break
    else:
        pytest.fail("nowhere does a step of one follow the end of another's request")
    turns[place], turns[place + 1] = turns[place + 1], turns[place]
    write(host / JOURNAL, records)
    assert found(host).kind in {Kind.HISTORY, Kind.REPLAY, Kind.REAL_TIME}


@pytest.mark.parametrize(
    ("field", "change", "text"),
    [
        (5, lambda digest: digest + 1, "digest"),
        (4, lambda rets: [rets[0] + 1, *rets[1:]], "ret"),
        (4, lambda rets: rets[1:], "ret"),
        (3, lambda turns: [*turns[:-1], -turns[-1]], "ended with|went on after"),
        (3, lambda turns: [*turns[:-1], 1 << 40], "not there or over"),
        (1, lambda call: call + 1, "Call"),
    ],
)
def test_changed_field(host: Path, field: int, change: Callable[[Any], Any], text: str) -> None:
    """A digest, a ret, a turn or a number that was changed is not what the core does."""
    records = read(host / JOURNAL)
    at = next(number for number in blocks(records)[100:] if records[number][4])
    records[at][field] = change(records[at][field])
    write(host / JOURNAL, records)
    finding = found(host)
    assert (finding.kind, finding.record) == (Kind.GAP if field == 1 else Kind.REPLAY, at)
    assert re.search(text, finding.text)


def test_flipped_bits(host: Path) -> None:
    """A flipped bit anywhere in a journal is found, with the record at or after it."""
    content = (host / JOURNAL).read_bytes()
    dice = random.Random(5)
    for _ in range(25):
        place = dice.randrange(len(content))
        flipped = bytearray(content)
        flipped[place] ^= 1 << dice.randrange(8)
        (host / JOURNAL).write_bytes(flipped)
        report = checked(host)
        assert report.verdict is not Verdict.VALID, place
        assert report.unknown or report.findings[0].kind not in {Kind.INVARIANT, Kind.REAL_TIME}


def test_a_change_that_changes_nothing(host: Path) -> None:
    """Even where no replay depends on it, a byte that was not written is found by the checksum."""
    content = (host / JOURNAL).read_bytes()
    assert content.count(b"launcher") > 0
    (host / JOURNAL).write_bytes(content.replace(b"launcher", b"lAuncher", 1))
    finding = found(host)
    assert finding.kind is Kind.DAMAGED
    assert "not those that were written" in finding.text


@pytest.mark.parametrize("whole", [True, False])
def test_truncated_journal(host: Path, whole: bool) -> None:
    """A journal that ends before commits that parties were told of is truncated, not crashed."""
    records = read(host / JOURNAL)
    content = b"".join(msgpack.packb(record) for record in records[: blocks(records)[200] + 1])
    (host / JOURNAL).write_bytes(content if whole else content[:-3])
    finding = found(host)
    assert finding.kind is Kind.TRUNCATED
    assert finding.file == JOURNAL
    assert ".history record" in finding.text


def test_a_hypervisor_killed_in_mid_record(host: Path) -> None:
    """A torn last record and no note of the end are what a kill leaves: valid so far, and noted."""
    content = (host / JOURNAL).read_bytes()
    end = content.rindex(b"\x93\xa3end")
    (host / JOURNAL).write_bytes(content[: end + 3])
    report = checked(host)
    assert report.verdict is Verdict.VALID
    assert "torn (3 bytes)" in report.notes[0]
    assert "broke off" in report.notes[1]


def test_a_hypervisor_killed_between_writes(host: Path) -> None:
    """Room that it had taken and not used is no torn record: valid so far, and noted."""
    content = (host / JOURNAL).read_bytes()
    end = content.rindex(b"\x93\xa3end")
    (host / JOURNAL).write_bytes(content[:end] + bytes(1 << 16))
    report = checked(host)
    assert report.verdict is Verdict.VALID
    assert len(report.notes) == 1 and "broke off" in report.notes[0]


def test_unreadable_bytes_before_the_end_note_are_damage(host: Path) -> None:
    """A record whose length was made to run past the end of the file is not mistaken for a torn one."""
    content = (host / JOURNAL).read_bytes()
    last = content.rindex(b"\x93\xa3end")
    (host / JOURNAL).write_bytes(content[:last] + b"\xdb\x00\xff\xff\xff" + content[last:])
    finding = found(host)
    assert finding.kind is Kind.DAMAGED
    assert "ended in good order" in finding.text


def forge(host: Path, change: Callable[[Records], int]) -> tuple[Path, int]:
    """Change the toolstack's history; gives the record that was changed."""
    path = host / "toolstack-0.history"
    records = read(path)
    at = change(records)
    write(path, records)
    return path, at


@pytest.mark.rule("I12")
def test_return_before_the_commit(host: Path) -> None:
    """A call that was told of a commit before that commit can have been is found in its history."""

    def change(records: Records) -> int:
        at = next(
            n for n, one in enumerate(records) if n > 40 and one[0] == "returned" and n + 2 < len(records)
        )
        later = next(one for one in records[at + 1 :] if one[0] == "returned")
        records[at][5], later[5] = later[5], records[at][5]
        return at

    path, at = forge(host, lambda records: change([["header"], *records[1:]]))
    finding = found(host)
    assert finding.kind is Kind.HISTORY
    assert (finding.file, finding.record) == (path.name, at)


@pytest.mark.rule("I12")
def test_invocation_after_a_later_return(host: Path) -> None:
    """An operation that committed before its invocation contradicts what others were told by then."""

    def change(records: Records) -> int:
        last = records[-1][1]
        first = records[1][1]
        for record in records[1:]:
            record[1] = last + (record[1] - first)  # the whole party, as if it had lived later
        return 1

    forge(host, change)
    finding = found(host)
    assert finding.kind in {Kind.REAL_TIME, Kind.HISTORY}


@pytest.mark.parametrize("field", [0, 1, 2])
def test_forged_answers(host: Path, field: int) -> None:
    """A ret, first or last commit that differs from the journal's is named in the history."""

    def change(records: Records) -> int:
        at = max(n for n, one in enumerate(records[1:200], 1) if one[0] == "returned")
        records[at][5][0][field] += 1
        return at

    path, at = forge(host, change)
    finding = found(host)
    assert finding.kind in {Kind.HISTORY, Kind.REAL_TIME}
    assert (finding.file, finding.record) == (path.name, at)


def test_an_operation_that_nobody_invoked(host: Path) -> None:
    """A history that lacks a call which the journal holds is found."""

    def change(records: Records) -> int:
        key = records[1][2:5]
        records[1:] = [one for one in records[1:] if one[2:5] != key]
        return 0

    forge(host, change)
    finding = found(host)
    assert finding.kind is Kind.HISTORY
    assert "no history holds its invocation" in finding.text


@pytest.mark.rule("I12")
def test_a_history_changed_without_its_checksum_is_found(host: Path) -> None:
    """Histories carry checksums as journals do: a rotten bit in a time is named."""
    path = max(host.rglob("toolstack-*.history"))
    content = bytearray(path.read_bytes())
    at = content.rindex(b"\xa8returned") + len(b"\xa8returned") + 8
    content[at] ^= 1  # the last byte of the nanoseconds
    path.write_bytes(content)
    finding = found(host)
    assert finding.kind is Kind.DAMAGED and "not those that were written" in finding.text


def test_a_history_that_begins_too_late(host: Path) -> None:
    """Operations done before their caller's first call on record are no strangers' operations."""

    def change(records: Records) -> int:
        key = next(one for one in reversed(records) if one[0] != "sum")[2:5]
        records[1:] = [one for one in records[1:] if one[2:5] == key]
        return 0

    forge(host, change)
    finding = found(host)
    assert finding.kind is Kind.HISTORY
    assert "no history holds its invocation" in finding.text


@pytest.mark.rule("H22", "I12")
def test_kill_9_of_the_toolstack_leaves_a_valid_run(tmp_path: Path) -> None:
    """What the dead toolstack had asked may or may not have happened; the rest fits together."""
    run = tmp_path / "run"
    scenario = write_scenario(tmp_path, SMALL.replace("pages_per_second = 6000", "pages_per_second = 1000"))
    history = run / "claim" / "1" / "host0" / "toolstack-0.history"

    def in_mid_build() -> bool:
        return history.exists() and history.stat().st_size > 4000

    done = run_killing(
        "toolstack-0", in_mid_build, run, scenario, "--scheme", "claim", seconds=30, wanted="half-built"
    )
    assert done.returncode == 0, done.stderr
    report = checked(run / "claim" / "1" / "host0")
    assert report.verdict is Verdict.VALID, [one.line() for one in report.findings]
    assert report.returned + report.happened == report.operations
    assert report.unrecorded == 0


@pytest.mark.parametrize(
    ("change", "verdict", "text"),
    [
        (lambda path: path.unlink(), Verdict.UNKNOWN, "nothing can be said"),
        (lambda path: path.write_bytes(b""), Verdict.UNKNOWN, "empty"),
        (
            lambda path: write(path, [{"format": "claimlab-journal", "version": 9}]),
            Verdict.UNKNOWN,
            "version 9",
        ),
        (lambda path: path.write_bytes(b"\xc1"), Verdict.INVALID, "damaged"),
    ],
)
def test_what_cannot_be_read(host: Path, change: Callable[[Path], None], verdict: Verdict, text: str) -> None:
    """No journal, or one of a version to come, leaves the question open; damage does not."""
    change(host / JOURNAL)
    report = checked(host)
    assert report.verdict is verdict
    assert text in "\n".join(report.lines())


def test_nothing_to_check(tmp_path: Path) -> None:
    """A folder that is no run is bad usage."""
    for name in (tmp_path, tmp_path / "absent"):
        done = claimlab("check", name)
        assert done.returncode == 2
        assert "claimlab run left" in done.stderr and done.stdout == ""
