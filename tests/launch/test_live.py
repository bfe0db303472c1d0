"""`claimlab run --live`: a view that looks at a real run and steers it through its processes."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.widgets import Static

from hypervisor.public.observation import DomainSnapshot, Snapshot
from launch.cluster.crew import Crew
from launch.cluster.run import run_scenario
from launch.cluster.steered import SteeredHost
from launch.live.app import Guests, LiveApp
from launch.live.pictures import CLAIMED, FREE, USED, memory_bar
from launch.live.steering import Steering
from launch.live.trend import Shares, Trend, shares
from launch.results import open_results
from launch.scenario.load import load_scenario
from launch.summary import Report
from tests.launch.cluster_runs import (
    PATIENCE,
    longer,
    pid_of,
    recorded,
    run_until,
    still_there,
    wait_until,
    write_scenario,
)

SPEED = 20


def snapshot(free: int, outstanding: int, **fields: Any) -> Snapshot:
    plain: dict[str, Any] = {
        **{"nonce": 1, "release": "4.17", "commit": 1, "seconds": 1.0, "total_pages": 1000, "xen_pages": 10},
        **{"tmem_pages": 0, "calls": 0, "requests": 0, "steps": 0, "nodes": (), "domains": (), "growth": {}},
        **{"refused": (), "wire_refusals": {}, "underway": ()},
    }
    return Snapshot(**{**plain, "free_pages": free, "outstanding_pages": outstanding, **fields})


def test_the_bar_adds_up() -> None:
    """Used, claimed and free fill the width, also when claims rest on what tmem would give back."""
    assert shares(snapshot(400, 100)) == Shares(600, 100, 300)
    assert shares(snapshot(400, 500)) == Shares(600, 400, 0)
    for free, outstanding in ((400, 100), (400, 500), (999, 1), (1, 1), (0, 0), (335, 333)):
        for width in (20, 77):
            bar = re.sub(r"\[.*?\]", "", memory_bar(snapshot(free, outstanding), width).splitlines()[0])
            assert len(bar) == width and set(bar) <= {USED, CLAIMED, FREE}


def test_rates_are_differences() -> None:
    """Requests per real second by guest, the busiest first; a reborn domid inherits none."""

    def guest(domid: int, incarnation: int, operations: int) -> DomainSnapshot:
        return DomainSnapshot(domid, incarnation, "guest", 34, False, 9, 9, 0, 0, 0, 1, operations)

    before = snapshot(0, 0, domains=(guest(1, 1, 100), guest(2, 2, 500)), requests=600, growth={"build": 5})
    after = snapshot(
        0, 0, domains=(guest(1, 1, 140), guest(2, 3, 30)), requests=670, growth={"build": 5, "pod": 8}
    )
    trend = Trend(after, before, 2.0)
    assert [(one.domain.domid, one.per_second) for one in trend.guests()] == [(1, 20.0), (2, 15.0)]
    assert trend.requests_per_second == 35.0
    assert trend.growth_per_second() == {"pod": 4.0}


async def until(pilot: Pilot[None], condition: Callable[[], Any]) -> None:
    """Let the application go on until the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        await pilot.pause(0.02)


def state(pid: int | None) -> str:
    """A process's state letter; "" when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[0]


class OverError(Exception):
    """The run has ended before all was seen."""


class Attended:
    """A run in a thread, and the view on it."""

    def __init__(self, tmp_path: Path, seconds: int) -> None:
        path = write_scenario(tmp_path)
        loaded = load_scenario(str(path), (f"duration={seconds}", "arrivals.at=20"), None, ["claim"])
        self.results = open_results(loaded, tmp_path / f"run-{seconds}", datetime.now(UTC))
        ours, self.theirs = Pipe()
        self.steering = Steering(ours)
        self.app = LiveApp(self.results.path, self.theirs)
        self.reports: list[Report] = []
        self.thread = threading.Thread(
            target=lambda: self.reports.append(
                run_scenario(loaded, self.results, self.steering.say, steering=self.steering)
            )
        )

    @property
    def now(self) -> Snapshot:
        return self.app.trends["host0"].now

    async def until(self, pilot: Pilot[None], condition: Callable[[], Any]) -> None:
        """The same, while the run lasts. OverError when it is over first."""
        await until(pilot, lambda: not self.thread.is_alive() or condition())
        if not condition():
            raise OverError

    async def fresh(self, pilot: Pilot[None]) -> Snapshot:
        """A snapshot asked for after this was called."""
        for _ in range(2):
            seen = self.now
            await self.until(pilot, lambda seen=seen: self.now is not seen)  # type: ignore[misc]
        return self.now

    def guests(self) -> dict[str, str]:
        """The state of every guest's process, by its role."""
        entries = recorded(self.results.path)
        return {one["role"]: state(one["pid"]) for one in entries if one["role"].startswith("guest-")}

    def of_state(self, letter: str) -> list[str]:
        """The guests in that state; "" for those that are gone."""
        return [role for role, found in self.guests().items() if found == letter]

    async def press(self, pilot: Pilot[None], key: str, row: int) -> None:
        """A key with the cursor on a row."""
        self.app.query_one(Guests).move_cursor(row=row)
        await pilot.pause()
        await pilot.press(key)

    async def watch(self) -> None:
        """Pause; hold one guest and kill another meanwhile; go on; pause again, and close the view."""
        run = self.results.path
        async with self.app.run_test(size=(120, 40)) as pilot:
            await self.until(pilot, lambda: "host0" in self.app.trends and self.now.seconds > 0)
            started, before = time.monotonic(), await self.fresh(pilot)
            await pilot.press("p")
            await self.until(pilot, lambda: self.app.paused)
            stood = time.monotonic()
            await self.until(pilot, lambda: {state(one["pid"]) for one in recorded(run)} == {"T"})
            await self.press(pilot, "k", 1)
            await self.until(pilot, lambda: self.of_state(""))
            (killed,) = self.of_state("")
            rows = self.app.query_one(Guests)
            alive = next(row for row in range(rows.row_count) if rows.get_row_at(row)[0] != killed)
            await self.press(pilot, "h", alive)
            await self.until(pilot, lambda: "PAUSED" in str(self.app.query_one("#hosts", Static).render()))
            stood = time.monotonic() - stood
            await pilot.press("p")
            await self.until(pilot, lambda: not self.app.paused)
            after = await self.fresh(pilot)
            assert after.seconds - before.seconds <= SPEED * (time.monotonic() - started - stood), (
                "time stood"
            )
            await self.until(pilot, lambda: state(pid_of(run, "hypervisor")) != "T")
            await self.until(pilot, lambda: len(self.of_state("T")) == 1)
            assert self.of_state("") == [killed]
            shown = str(self.app.query_one("#hosts", Static).render())
            assert "used" in shown and "claimed" in shown and "requests/s" in shown
            await pilot.press("p")
            await self.until(pilot, lambda: self.app.paused)
            await pilot.press("d")
        self.theirs.close()


def attend(tmp_path: Path, seconds: int) -> tuple[Attended, bool]:
    """A run that was watched, and whether it lasted for all there was to see."""
    attended, lasted = Attended(tmp_path, seconds), True
    attended.thread.start()
    try:
        # The fork server has to be up before textual takes this process's standard error.
        wait_until(lambda: pid_of(attended.results.path, "hypervisor"))
        asyncio.run(attended.watch())
    except OverError:
        lasted = False
    finally:
        attended.theirs.close()
        attended.thread.join()
        attended.steering.close()
    return attended, lasted


def test_the_view_steers_a_run(tmp_path: Path) -> None:
    """Pause stops all processes and time; hold and kill hit one guest; a closed view ends a pause."""
    attended, lasted = longer(lambda times: attend(tmp_path, 160 * times), lambda found: found[1])
    assert lasted
    (report,) = attended.reports
    assert report.summary.valid, report.violations
    assert any("killed by hand" in note for note in report.notes)
    assert any("held by hand" in note for note in report.notes)
    assert still_there(attended.results.path) == []


def test_a_process_of_several_guests_is_killed_when_that_is_asked_for_twice(tmp_path: Path) -> None:
    """The first kill only says whom it would hit; it is done if the next command asks for it again."""
    notes: list[str] = []
    with Crew(tmp_path, lambda _role, _pid: None) as crew:
        shared = crew.start("guests 1 to 4", time.sleep, 600)
        alone = crew.start("guest 5", time.sleep, 600)
        guests = {**{(domid, domid): shared for domid in range(1, 5)}, (5, 5): alone}
        host = SteeredHost("host0", crew, crew.shared_epoch(), guests, notes)
        warning = "guests 1 to 4 carries domains 1, 2, 3 and 1 more: ask again to kill them all"
        assert host.kill(2, 2) == warning and shared.alive
        assert host.hold(3, 3) == "guests 1 to 4 (domains 1, 2, 3 and 1 more) held by hand"
        assert host.kill(2, 2) == warning and shared.alive
        assert host.kill(4, 4) == "guests 1 to 4 (domains 1, 2, 3 and 1 more) killed by hand"
        assert not shared.alive and alone.alive
        assert host.kill(5, 5) == "guest 5 (domain 5) killed by hand" and not alone.alive
    assert len(notes) == 3


def test_without_a_terminal_lines_are_printed(tmp_path: Path) -> None:
    """--live into a pipe prints plain progress on standard error, and the run's document stays alone."""
    path = write_scenario(tmp_path)
    line = r"host0: \d+ of \d+ s, used \d+ %, claimed \d+ %, free \d+ %, \d domains"
    chosen = ("--scheme", "claim", "--no-judge", "--json", "--live")
    done = run_until(lambda one: re.search(line, one.stderr), tmp_path / "run", path, *chosen, seconds=100)
    assert done.returncode == 0, done.stderr
    assert re.search(line, done.stderr)
    assert "\x1b" not in done.stderr
    assert done.stdout.startswith("{")


def test_ctrl_c_in_the_view_stops_the_run(tmp_path: Path) -> None:
    """On a terminal Ctrl-C ends run and view, leaves no process, and puts the terminal back."""
    controller, terminal = pty.openpty()
    run = tmp_path / "run"
    command = [sys.executable, "-m", "launch", "run", str(write_scenario(tmp_path)), "--scheme", "claim"]
    command += ["--set", "duration=100000", "--out", str(run), "--live"]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    running = subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment, start_new_session=True
    )
    os.close(terminal)
    shown = bytearray()

    def read() -> None:
        try:
            while chunk := os.read(controller, 1 << 16):
                shown.extend(chunk)
        except OSError:
            pass  # EIO: the last one who had the terminal is gone

    reader = threading.Thread(target=read)
    reader.start()
    try:
        wait_until(lambda: b"emulated" in shown and pid_of(run, "hypervisor"))
        os.write(controller, b"\x03")
        running.wait(PATIENCE)
    finally:
        running.kill()
        running.wait()
        reader.join()
        os.close(controller)
    assert running.returncode == 130, shown[-2000:]
    assert b"every process of the run has been stopped" in shown
    assert shown.rindex(b"\x1b[?1049l") > shown.rindex(b"\x1b[?1049h"), "back on the main screen"
    assert still_there(run) == []
