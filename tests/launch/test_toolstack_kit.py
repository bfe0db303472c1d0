"""`claimlab check-toolstack` passes who keeps the protocol, and names what is wrong with who does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.launch.cluster_runs import (
    Done,
    claimlab,
    ended,
    longer,
    run_with_foreign,
    summary,
    wait_until,
    write_scenario,
)
from tests.toolchain import need

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

FAULTS = [
    ("hangs", 1, "order 1: no outcome within {} s (it is still running)"),
    ("never-enlists", 1, "no Enlist arrived"),
    ("crashes", 20, "order 1: no outcome within {} s (it ended with exit code 7)"),
    ("always-built", 20, "was reported as built on a host of"),
    ("leaks-claims", 20, "pages stay claimed: cancel claims"),
    ("leaks-clamps", 20, "is left with max_pages 1024 instead of 2048: put back every limit"),
    (
        "destroys-all",
        20,
        "domain 1, which it did not build, is gone: destroy only domains of its own orders",
    ),
    ("future-commit", 20, "commit 1000000000 of built has not happened"),
    ("twice", 20, "outcomes built, built: send admitted then built"),
    ("malformed", 20, "the hypervisor refused 5 of its messages: malformed"),
    ("wrong-secret", 20, "its secret does not let its guest in"),
]


def test_one_that_keeps_the_protocol_passes(tmp_path: Path) -> None:
    """A program of plain pyzmq and msgpack passes every trial, exit code 0."""
    program = [sys.executable, HERE / "foreign_toolstack.py"]
    done = claimlab("check-toolstack", "--out", tmp_path / "logs", "--json", "--", *program)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert document["passed"] and len(document["trials"]) == 6
    assert (tmp_path / "logs" / "journal.msgpack").exists()


@pytest.mark.parametrize(("fault", "patience", "words"), FAULTS, ids=[one[0] for one in FAULTS])
def test_each_fault_is_named(fault: str, patience: int, words: str, tmp_path: Path) -> None:
    """One fault in an otherwise good toolstack gives exit code 1 and a line that says what is wrong."""
    program = [sys.executable, HERE / "bad_toolstack.py", fault]

    def attempt(times: int) -> tuple[Done, bool]:
        options = ("--patience", patience * times, "--out", tmp_path / f"logs-{times}")
        done = claimlab("check-toolstack", *options, "--", *program)
        return done, words.format(patience * times) in done.stdout

    # A second may be too short for it to come up in.
    done, named = longer(attempt, lambda one: one[1])
    assert done.returncode == 1, done.stdout + done.stderr
    assert named, done.stdout


def test_children_of_a_wrapper_that_has_ended_go_too(tmp_path: Path) -> None:
    """A program that starts another and leaves does not leave that one running; its log is kept and named."""
    script = f"sleep 601 & echo $! > {tmp_path / 'pid'}; exit 7"
    with tempfile.TemporaryDirectory() as short:  # a socket's path has little room
        environment = {**os.environ, "TMPDIR": short}
        done = claimlab("check-toolstack", "--", "sh", "-c", script, env=environment)
        assert done.returncode == 1, done.stderr
        log = Path(done.stdout.rsplit("its output: ", 1)[1].strip())
        assert log.is_file()
    child = Path("/proc") / (tmp_path / "pid").read_text(encoding="ascii").strip() / "stat"
    wait_until(lambda: not child.exists() or child.read_text(encoding="ascii").split()[2] == "Z")


def test_a_temporary_folder_with_a_long_path_is_bad_usage(tmp_path: Path) -> None:
    """A socket's path that would be too long is told in one line, which names what to shorten."""
    far = tmp_path / ("x" * 90)
    far.mkdir()
    done = claimlab("check-toolstack", "--", "./nosuch", env={**os.environ, "TMPDIR": str(far)})
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stderr.endswith("(sockets are made in TMPDIR)\n")
    assert not list(far.iterdir())


def test_a_program_that_cannot_be_started_is_bad_usage(tmp_path: Path) -> None:
    """One line with the cure, exit code 2."""
    done = claimlab("check-toolstack", "--out", tmp_path / "logs", "--", "./nosuch")
    assert done.returncode == 2
    assert done.stderr.strip() == "./nosuch: No such file or directory: name a program that can be started"
    with tempfile.TemporaryDirectory() as short:
        again = claimlab("check-toolstack", "--", "./nosuch", env={**os.environ, "TMPDIR": short})
        assert again.returncode == 2
        assert not list(Path(short).iterdir())


@pytest.fixture(scope="module")
def toolstack_c(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example in C, compiled here."""
    need("cc", "libzmq", "msgpack", "libcjson")
    program = tmp_path_factory.mktemp("c") / "toolstack"
    subprocess.run(["make", "-s", "-C", ROOT / "examples" / "toolstack-c", f"OUT={program}"], check=True)
    return program


def test_a_toolstack_in_c_passes(toolstack_c: Path, tmp_path: Path) -> None:
    """examples/toolstack-c keeps the protocol."""
    done = claimlab("check-toolstack", "--out", tmp_path / "logs", "--", toolstack_c)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_toolstack_in_c_takes_part(toolstack_c: Path, tmp_path: Path) -> None:
    """It takes the orders of a run, claims and builds, and its domains run as guests."""
    run = tmp_path / "run"
    path = write_scenario(tmp_path)
    done = run_with_foreign([toolstack_c], run, path, seconds=30, over=ended(run, 4))
    assert done.returncode == 0, done.stderr
    figures = summary(run)["schemes"]["foreign"]
    assert (figures["launches"], figures["admitted"], figures["failed_late"]) == (4, 2, 0)
    assert figures["leftovers"] == 0
