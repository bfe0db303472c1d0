"""Single-line faults planted in the core, one at a time, in a copy of it: is each caught, and by which test?

`python -m tests.mutations.plant` runs for every fault the test that faults.toml names; with `--search` it
runs tests/core until something fails, which finds the test to name. Exit code 1 when a fault escapes.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FAULTS = Path(__file__).with_name("faults.toml")
LINKED = ("guests", "toolstack", "launch", "tests", "docs", "pyproject.toml")
"""Seen as they are; only the hypervisor is copied, because a line of it changes."""
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


class PatchError(Exception):
    """The line that a fault replaces is not there, or there more than once."""


@dataclass(frozen=True)
class Fault:
    """One line of the core, and what stands there instead."""

    name: str
    file: str
    line: str
    """Without its indentation; it must occur exactly once, unless `within` narrows it."""
    planted: str
    caught_by: str
    """A test, as pytest names it."""
    within: str = ""
    """The line occurs once after this text."""

    def patched(self, text: str) -> str:
        """The file's text with the fault in it."""
        before, mark, after = text.partition(self.within) if self.within else ("", "", text)
        if self.within and not mark:
            raise PatchError(f"{self.name}: {self.file} has no {self.within!r}")
        pattern = re.compile(rf"^(\s*){re.escape(self.line)}$", re.MULTILINE)
        found = len(pattern.findall(after))
        if not found or (found > 1 and not self.within):
            raise PatchError(f"{self.name}: {found} lines {self.line!r} in {self.file}: mend faults.toml")
        return before + mark + pattern.sub(lambda match: match[1] + self.planted, after, count=1)


def faults() -> tuple[Fault, ...]:
    """All of faults.toml."""
    return tuple(Fault(**entry) for entry in tomllib.loads(FAULTS.read_text(encoding="utf-8"))["fault"])


def first_failure(fault: Fault, tests: str) -> str | None:
    """Run `tests` on a copy with the fault; the test that failed first, None when all passed."""
    with tempfile.TemporaryDirectory(prefix="claimlab-fault-") as folder:
        root = Path(folder)
        for name in LINKED:
            (root / name).symlink_to(ROOT / name)
        shutil.copytree(
            ROOT / "hypervisor", root / "hypervisor", ignore=shutil.ignore_patterns("__pycache__")
        )
        target = root / fault.file
        target.write_text(fault.patched(target.read_text(encoding="utf-8")), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=no", tests]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    found = FAILED.search(done.stdout)
    if done.returncode != 1 or found is None:
        raise RuntimeError(f"{fault.name}: pytest could not run {tests}:\n{done.stdout}{done.stderr}")
    return found[1]


def main() -> int:
    """Plant them all, or those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--search", action="store_true")
    options = parser.parse_args()
    escaped = 0
    for fault in faults():
        if options.names and fault.name not in options.names:
            continue
        caught = first_failure(fault, "tests/core" if options.search else fault.caught_by)
        escaped += caught is None
        print(f"{fault.name}: {caught or 'ESCAPED'}", flush=True)
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main())
