"""The commands that the documentation shows do run: every fenced block opened with ```sh run is executed.

A block opened with ```sh run long belongs to `make test-long`. The lines of one block run in one shell, and
the first command that fails fails the block. Each has a folder of its own that holds what the repository's
root holds, beside ../shared: what stands in runs/ is the block's, whatever runs at the same time.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^```sh run(?P<long> long)?[ \t]*\n(?P<script>.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
SECONDS = 500
"""A bound for what hangs, below pytest's own: no block depends on how fast the machine is."""
SECONDS_LONG = 1500


@dataclass(frozen=True)
class Block:
    """One fenced block: where it stands (file:line), its lines, and whether it takes longer than a minute."""

    where: str
    script: str
    long: bool


class CommandFailedError(AssertionError):
    """A shown command gave a non-zero exit code, or did not end in time."""


def blocks_of(document: Path, root: Path = ROOT) -> list[Block]:
    text = document.read_text(encoding="utf-8")
    name = document.relative_to(root).as_posix()
    return [
        Block(
            f"{name}:{text.count(chr(10), 0, match.start()) + 1}", match["script"], match["long"] is not None
        )
        for match in FENCE.finditer(text)
    ]


def documents(root: Path = ROOT) -> list[Path]:
    return sorted([*root.glob("*.md"), *root.glob("docs/**/*.md")])


def run(block: Block, cwd: Path) -> str:
    """Run the block with this environment's commands first on PATH; returns its output, shell trace included.

    -e ends the script at the first command that fails, -x names that command in the output.
    """
    here = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{here}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    shell = subprocess.Popen(
        ["bash", "-exuo", "pipefail", "-c", block.script],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = shell.communicate(timeout=SECONDS_LONG if block.long else SECONDS)
    except subprocess.TimeoutExpired:
        raise CommandFailedError(f"{block.where}: not finished in time\n{block.script}") from None
    finally:
        if shell.poll() is None:
            os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
    if shell.returncode:
        raise CommandFailedError(f"{block.where}: exit code {shell.returncode}\n{output}")
    return output


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder to run a block in."""
    with tempfile.TemporaryDirectory(prefix="claimlab-docs-") as temporary:
        folder = Path(temporary, "claimlab")
        folder.mkdir()
        for entry in ROOT.iterdir():
            if entry.name != "runs":
                (folder / entry.name).symlink_to(entry)
        Path(temporary, "shared").symlink_to(ROOT.parent / "shared")
        yield folder


def different(blocks: Iterable[Block]) -> Iterable[Block]:
    """What two documents show alike is run once, where it stands first."""
    first: dict[str, Block] = {}
    for block in blocks:
        first.setdefault(block.script, block)
    return first.values()


SHOWN = [
    pytest.param(block, id=block.where, marks=[pytest.mark.long] if block.long else [])
    for block in different(block for document in documents() for block in blocks_of(document))
]


@pytest.mark.parametrize("block", SHOWN)
def test_shown_commands_succeed(block: Block, root: Path, request: pytest.FixtureRequest) -> None:
    """Every command of the block ends with exit code 0."""
    if "../shared" in block.script:
        request.getfixturevalue("shared")
    run(block, root)


PYTHON = re.compile(r"^```python[ \t]*\n(?P<code>.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
CODE = [
    pytest.param(match["code"], id=document.name)
    for document in documents()
    for match in PYTHON.finditer(document.read_text(encoding="utf-8"))
]
TINY = (
    "guests.count=2",
    "guests.memory=16MiB",
    "guests.max=16MiB",
    "guests.workload=[]",
    "duration=20",
    "arrivals.at=1",
)


@pytest.mark.parametrize("code", CODE)
def test_shown_schemes_run(code: str, tmp_path: Path) -> None:
    """A Python block defines one scheme, which serves launches when it is saved as the text says."""
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    name = re.findall(r"^class (\w+)\(Scheme\):", code, re.MULTILINE)
    assert len(name) == 1
    sets = [part for one in TINY for part in ("--set", one)]
    command = [
        sys.executable,
        "-m",
        "launch",
        "simulate",
        "default",
        "--scheme",
        f"mine:{name[0]},claim",
        *sets,
    ]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def document_with(folder: Path, text: str) -> list[Block]:
    (folder / "README.md").write_text(text, encoding="utf-8")
    return [block for document in documents(folder) for block in blocks_of(document, folder)]


def test_only_marked_blocks_are_taken(tmp_path: Path) -> None:
    """A block without the word run is shown, not executed; the place and the long mark are kept."""
    text = "# T\n\n```sh\nfalse\n```\n\n```sh run\ntrue\n```\n\n```sh run long\necho a\necho b\n```\n"
    assert document_with(tmp_path, text) == [
        Block("README.md:7", "true\n", long=False),
        Block("README.md:11", "echo a\necho b\n", long=True),
    ]


def test_block_runs_as_one_shell(tmp_path: Path) -> None:
    """Variables, continued lines and comments work, and python is the one that runs the tests."""
    script = "# a comment\nword=claims\necho one \\\n  $word\npython -c 'import sys; print(sys.prefix)'\n"
    output = run(Block("README.md:1", script, long=False), tmp_path)
    assert "one claims\n" in output
    assert f"{sys.prefix}\n" in output


@pytest.mark.parametrize("script", ["false\ntrue\n", "true\nclaimlab-no-such-command\n", "false | cat\n"])
def test_failing_command_fails_its_block(script: str, tmp_path: Path) -> None:
    """One failing command, wherever it stands, is an error that names the block's file and line."""
    with pytest.raises(CommandFailedError, match=r"^README\.md:3: exit code"):
        run(Block("README.md:3", script, long=False), tmp_path)
