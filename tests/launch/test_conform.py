"""`claimlab conform`: the core answers as recorded hypervisors did, and is caught where it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from launch.conform.conform import conform_files
from launch.conform.text import report_text
from launch.errors import UsageError
from tests.launch.recordings import DATA, recorded_lines, tampered, write_lines

FAULTS_OF_XEN = ("t91", "t92")
REFUSED = ("race", *FAULTS_OF_XEN)
OWN = sorted(path for path in DATA.glob("4.*/*.gz") if not path.name.startswith(REFUSED))
H09 = DATA / "4.17" / "h09-decrease-regrow.jsonl.gz"


@pytest.mark.rule(
    "C2", "C7", "C12", "C13", "C15", "C17", "C21", "C22", "C23", "C30", "A12", "A15", "A17", "A31"
)
@pytest.mark.parametrize("path", OWN, ids=lambda path: f"{path.parent.name}/{path.name.split('-')[0]}")
def test_core_answers_as_the_recorded_hypervisor(path: Path) -> None:
    """Every answer, claim and counter of the recordings in the repository is the core's."""
    report = conform_files([path], frame_heap=False)
    assert report.mismatched == 0, report_text(report)
    assert report.files[0].release == path.parent.name
    assert report.matched > 5
    assert report.operations == sum("i" in line for line in recorded_lines(path))


@pytest.mark.rule("T9", "T11")
@pytest.mark.parametrize("name", FAULTS_OF_XEN)
def test_faults_of_xen_left_out_are_listed_by_name(name: str) -> None:
    """Where Xen lost track of a page the core does not follow, and the report says which script and why."""
    (path,) = (DATA / "4.12").glob(f"{name}*")
    report = conform_files([path], frame_heap=False)
    assert (report.mismatched, report.exit_code) == (0, 0)
    assert 0 < len(report.not_emulated) < 4
    assert report.operations == sum("i" in line for line in recorded_lines(path))
    assert f"not emulated: {name}" in report_text(report)


@pytest.mark.rule("T19")
@pytest.mark.parametrize("counter", ["list", "nodes", "relinq_attempts"])
def test_a_counter_of_tmem_that_differs_is_a_mismatch(tmp_path: Path, counter: str) -> None:
    """tmem's own counters are compared on every line."""
    lines = recorded_lines(DATA / "4.12" / "t16-metadata.jsonl.gz")
    position = next(n for n, line in enumerate(lines) if line.get("op") == "tflushobj")
    lines[position]["state"]["tmem"][counter] += 1
    report = conform_files([write_lines(tmp_path / "t.jsonl", lines)], frame_heap=False)
    assert report.mismatches[0].i == lines[position]["i"]
    assert set(report.mismatches[0].expected) == {f"tmem.{counter}"}


@pytest.mark.rule("I7")
def test_stale_content_is_a_mismatch(tmp_path: Path) -> None:
    """A get that read another content than the core's is told."""
    lines = recorded_lines(DATA / "4.12" / "t02-ephemeral.jsonl.gz")
    next(line for line in lines if line.get("got_seed"))["got_seed"] = 77
    report = conform_files([write_lines(tmp_path / "t.jsonl", lines)], frame_heap=False)
    (mismatch,) = report.mismatches
    assert mismatch.expected == {"got": 77}


def test_a_folder_stands_for_its_recordings(tmp_path: Path) -> None:
    """A folder is replayed file by file, by name, and what is no recording by name is left alone."""
    for name in ("h30-refused-at-max-and-claim", "h07-consume"):
        source = DATA / "4.22" / f"{name}.jsonl.gz"
        (tmp_path / source.name).write_bytes(source.read_bytes())
    (tmp_path / "README.md").write_text("no recording")
    report = conform_files([tmp_path])
    assert [Path(one.file).name[:3] for one in report.files] == ["h07", "h30"]
    assert report.exit_code == 0


def test_one_changed_answer_is_exactly_one_mismatch(tmp_path: Path) -> None:
    """A recording whose first claim is said to have failed differs on that line and on no other."""
    path = tampered(H09, tmp_path / "t.jsonl", lambda line: line.get("op") == "claim", ret=-1, errno=12)
    report = conform_files([path], frame_heap=False)
    (mismatch,) = report.mismatches
    assert mismatch.expected == {"ret": -1, "errno": 12}
    assert mismatch.got == {"ret": 0, "errno": 0}
    assert "C7-C16" in mismatch.rule
    assert f"{path} line i={mismatch.i}: {mismatch.line}" in report_text(report)
    assert report.exit_code == 1


@pytest.mark.parametrize("key", ["tot", "max", "outstanding"])
def test_one_changed_counter_is_told_once(tmp_path: Path, key: str) -> None:
    """A counter that is wrong on one line makes that line differ, and the line that brings it back."""
    lines = recorded_lines(H09)
    position = next(n for n, line in enumerate(lines) if line.get("op") == "claim" and line["ret"] == 0)
    lines[position]["state"]["doms"]["A"][key] += 7
    path = write_lines(tmp_path / "t.jsonl", lines)
    report = conform_files([path], frame_heap=False)
    first = report.mismatches[0]
    assert first.i == lines[position]["i"]
    assert set(first.expected) == {f"A.{key}"}
    assert first.expected[f"A.{key}"] == first.got[f"A.{key}"] + 7
    assert report.mismatched <= 2


def test_pages_that_vanish_are_a_mismatch(tmp_path: Path) -> None:
    """Free pages are compared as well: a populate after which one more is gone differs."""
    lines = recorded_lines(DATA / "4.17" / "h07-consume.jsonl.gz")
    position = next(n for n, line in enumerate(lines) if line.get("op") == "populate")
    lines[position]["state"]["free"] -= 1
    report = conform_files([write_lines(tmp_path / "t.jsonl", lines)], frame_heap=False)
    (mismatch,) = report.mismatches
    assert mismatch.got["free"] == mismatch.expected["free"] + 1


@pytest.mark.rule("C21", "C22")
def test_the_rules_of_another_release_do_not_fit() -> None:
    """4.17's claim grows back on decrease, so its recording differs under the rules of 4.21."""
    assert conform_files([H09], "4.17", frame_heap=False).mismatched == 0
    report = conform_files([H09], "4.21", frame_heap=False)
    assert report.mismatched >= 1
    assert "A.outstanding" in report.mismatches[0].expected
    assert report.mismatches[0].line.startswith("decrease")


@pytest.mark.rule("C9", "C23")
@pytest.mark.parametrize("name", ["h30", "z01", "z02"])
def test_consumption_and_dying_tell_421_from_422(name: str) -> None:
    """What 4.22 does at max_pages and on a dying domain is not what 4.21 does."""
    (path,) = (DATA / "4.22").glob(f"{name}*")
    assert conform_files([path], frame_heap=False).mismatched == 0
    assert conform_files([path], "4.21", frame_heap=False).mismatched > 0


@pytest.mark.rule("C18")
def test_frame_heap_agrees_but_for_contiguity() -> None:
    """Real frames answer as the recorded host except where its own fragmentation decided."""
    names = ("4.17/r9-03", "4.22/v02-hvm-refused-at-max")
    report = conform_files([DATA / f"{name}.jsonl.gz" for name in names])
    agreement = report.frame_heap
    assert agreement is not None
    assert report.mismatched == 0
    assert agreement.of == report.matched
    assert agreement.of - agreement.agreed <= report.contig + 5
    assert agreement.agreed > 0.97 * agreement.of


def test_several_processes_find_the_same() -> None:
    """Files shared between two processes give the same report in the same order."""
    files = OWN[:3]
    assert conform_files(files, jobs=2) == conform_files(files)


def test_unknown_release_and_missing_file_name_the_cure(tmp_path: Path) -> None:
    """A release that does not exist, a missing file and an empty folder are one clear line each."""
    with pytest.raises(UsageError, match=r"--release 4\.99: not known; use one of 4\.3, 4\.12"):
        conform_files([H09], "4.99")
    with pytest.raises(UsageError, match="no such file"):
        conform_files([tmp_path / "absent.jsonl"])
    with pytest.raises(UsageError, match="holds no"):
        conform_files([tmp_path])
