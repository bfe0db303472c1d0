"""The folder a run leaves behind: RUN/<scheme>/<repeat>/<host>/ and what is needed to repeat the run."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from launch.errors import UsageError
from launch.scenario.load import Loaded
from launch.scenario.scenes import guests_of, host_of, named_hosts
from launch.scenario.table import Table

RUNS: Final = Path("runs")
"""Where runs go unless --out says otherwise, in the working directory."""
LATEST: Final = "latest"
PIDS: Final = "pids.jsonl"
"""Every process that the run started: role, pid and start time."""
SOCKETS: Final = "sockets.jsonl"
"""Every folder of sockets, with the launcher's pid and start time."""
SOCKETS_PREFIX: Final = "claimlab-"

_PACKAGES: Final = (
    "claimlab",
    "msgpack",
    "msgspec",
    "multiprocess",
    "pydantic",
    "pyzmq",
    "rich",
    "tenacity",
    "typer",
)
_START_TIME: Final = 22
"""Field of /proc/PID/stat, counted from 1 (proc(5)): clock ticks from boot to the start of the process."""


@dataclass(frozen=True)
class Results:
    """One run's folder. The scheme is named in paths as `path_name` writes it."""

    path: Path
    made: tuple[Path, ...] = ()
    """The folders that were made for it, the innermost first."""

    def host_directory(self, scheme: str, repeat: int, host: str) -> Path:
        """RUN/<scheme>/<repeat>/<host>, made if it is not there; repeats count from 1."""
        folder = self.path / path_name(scheme) / str(repeat) / host
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def write_scenario(self, loaded: Loaded) -> None:
        """scenario.toml, the text as it was read; scenario.json, what it came to, which can be run again."""
        (self.path / "scenario.json").write_text(resolved(loaded) + "\n", encoding="utf-8")
        if not loaded.source.name.endswith(".json"):
            (self.path / "scenario.toml").write_text(loaded.source.text, encoding="utf-8")
        (self.path / "seed").write_text(f"{loaded.scenario.seed}\n", encoding="utf-8")

    def write_versions(self) -> None:
        """versions.json: what the run was made with."""
        self._write_json("versions.json", versions())

    def record_process(self, role: str, pid: int) -> None:
        """One line of pids.jsonl. A pid comes round again, a pid with its start time does not."""
        self._add_line(PIDS, {"role": role, "pid": pid, "start_time": start_time(pid)})

    def record_sockets(self, folder: Path) -> None:
        """One line of sockets.jsonl, so that `claimlab clean` finds them after the launcher was killed."""
        pid = os.getpid()
        self._add_line(SOCKETS, {"folder": str(folder), "pid": pid, "start_time": start_time(pid)})

    def write_summary(self, document: bytes, text: str) -> None:
        """summary.json and summary.md."""
        (self.path / "summary.json").write_bytes(document)
        (self.path / "summary.md").write_text(text, encoding="utf-8")

    def write_judgement(self, document: bytes) -> None:
        """judge.json."""
        (self.path / "judge.json").write_bytes(document)

    def link_latest(self) -> None:
        """Point `latest`, beside the run, at it. A real file of that name is somebody's own and stays."""
        link = self.path.parent / LATEST
        if link.exists() and not link.is_symlink():
            return
        new = self.path.parent / f".{LATEST}-{os.getpid()}"
        new.unlink(missing_ok=True)
        new.symlink_to(self.path.name, target_is_directory=True)
        new.replace(link)

    def has_outcomes(self) -> bool:
        """True once a toolstack has answered a launch."""
        return any(self.path.glob("*/*/*/outcomes.jsonl"))

    def discard(self) -> None:
        """Leave the place as it was found: a folder that stood there empty stays, with nothing in it."""
        for entry in self.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        with suppress(OSError):  # somebody else has put something there meanwhile
            for folder in self.made:
                folder.rmdir()

    def _add_line(self, name: str, entry: Mapping[str, Any]) -> None:
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def _write_json(self, name: str, document: Mapping[str, Any]) -> None:
        (self.path / name).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def open_results(loaded: Loaded, out: Path | None, now: datetime) -> Results:
    """Make the folder of a run and note in it what is run with what.

    out: the folder itself; it may exist if it is empty. Without it runs/<scenario>-<UTC time of now>-<seed>.
    UsageError when it cannot be made or holds something.
    """
    path = _new_path(loaded, now) if out is None else out
    try:
        absent = tuple(folder for folder in (path, *path.parents) if not folder.exists())
        path.mkdir(parents=True, exist_ok=True)
        held = any(path.iterdir())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}: choose another folder with --out") from error
    if held:
        raise UsageError(f"{path}: not empty: choose another folder with --out, or remove this one")
    results = Results(path.resolve(), tuple(folder.resolve() for folder in absent))
    results.write_scenario(loaded)
    results.write_versions()
    return results


def _new_path(loaded: Loaded, now: datetime) -> Path:
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    first = RUNS / f"{loaded.scenario.name}-{stamp}-{loaded.scenario.seed}"
    path, number = first, 1
    while path.exists():
        number += 1
        path = first.with_name(f"{first.name}-{number}")
    return path


def remove_sockets(folder: Path) -> None:
    """The run that needed them is over."""
    shutil.rmtree(folder, ignore_errors=True)


def path_name(scheme: str) -> str:
    """A scheme's name as a folder: `module:Class` and whatever else a path cannot hold gets dashes."""
    return "".join(letter if letter.isalnum() or letter in "._-+" else "-" for letter in scheme)


def resolved(loaded: Loaded) -> str:
    """The scenario with every default filled in and every change made, as JSON that `claimlab run` reads."""
    plain = loaded.scenario.model_dump(mode="json", exclude_none=True)
    plain["hosts"] = [
        {**_plain(host_of(loaded.scenario, name, table)), "guests": _plain(guests_of(loaded.scenario, table))}
        for _, name, table in named_hosts(loaded.scenario)
    ]
    for section in (plain["guests"], plain["arrivals"], *(one["guests"] for one in plain["hosts"])):
        if "trace" in section:
            section["trace"] = str(Path(section["trace"]).resolve())
    return json.dumps(plain, indent=2)


def _plain(table: Table) -> dict[str, Any]:
    return table.model_dump(mode="json", exclude_none=True)


def versions() -> Mapping[str, Any]:
    """claimlab, what it depends on, Python and the machine."""
    found = {name: metadata.version(name) for name in _PACKAGES if _installed(name)}
    return {
        **found,
        "python": sys.version.split()[0],
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
    }


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def start_time(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; None when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # Field 2, the name in parentheses, may itself hold blanks and parentheses.
    after_name = stat.rpartition(")")[2].split()
    return int(after_name[_START_TIME - 3])
