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
from launch.cluster.run import run_scenario
from launch.live.app import Guests, LiveApp
from launch.live.pictures import CLAIMED, FREE, USED, memory_bar
from launch.live.steering import Steering
from launch.live.trend import Shares, Trend, shares
from launch.results import open_results
from launch.scenario.load import load_scenario
from launch.summary import Report
from tests.launch.cluster_runs import claimlab, pid_of, recorded, still_there, wait_until, write_scenario

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
    deadline = time.monotonic() + 60
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


class Attended:
    """A run in a thread, and the view on it."""

    def __init__(self, tmp_path: Path) -> None:
        path = write_scenario(tmp_path)
        loaded = load_scenario(str(path), ("duration=160", "arrivals.at=20"), None, ["claim"])
        self.results = open_results(loaded, tmp_path / "run", datetime.now(UTC))
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

    async def fresh(self, pilot: Pilot[None]) -> Snapshot:
        """A snapshot asked for after this was called."""
        for _ in range(2):
            seen = self.now
            await until(pilot, lambda seen=seen: self.now is not seen)  # type: ignore[misc]
        return self.now

    async def choose(self, pilot: Pilot[None], row: int) -> str:
        """Put the cursor on a row; the role of its process."""
        self.app.query_one(Guests).move_cursor(row=row)
        await pilot.pause()
        name: str = self.app.query_one(Guests).get_row_at(row)[0]
        return name

    async def watch(self) -> None:
        """Pause; hold one guest and kill another meanwhile; go on; pause again, and close the view."""
        run = self.results.path
        async with self.app.run_test(size=(120, 40)) as pilot:
            await until(pilot, lambda: "host0" in self.app.trends and self.now.seconds > 0)
            started, before = time.monotonic(), await self.fresh(pilot)
            await pilot.press("p")
            await until(pilot, lambda: self.app.paused)
            stood = time.monotonic()
            assert {state(one["pid"]) for one in recorded(run)} == {"T"}
            held, killed = await self.choose(pilot, 0), await self.choose(pilot, 1)
            await pilot.press("k")
            await until(pilot, lambda: not state(pid_of(run, killed)))
            assert await self.choose(pilot, 0) == held
            await pilot.press("h")
            await until(pilot, lambda: "PAUSED" in str(self.app.query_one("#hosts", Static).render()))
            stood = time.monotonic() - stood
            await pilot.press("p")
            await until(pilot, lambda: not self.app.paused)
            after = await self.fresh(pilot)
            assert after.seconds - before.seconds <= SPEED * (time.monotonic() - started - stood), (
                "time stood"
            )
            assert state(pid_of(run, held)) == "T" and state(pid_of(run, "hypervisor")) != "T"
            shown = str(self.app.query_one("#hosts", Static).render())
            assert "used" in shown and "claimed" in shown and "requests/s" in shown
            await pilot.press("p")
            await until(pilot, lambda: self.app.paused)
            await pilot.press("d")
        self.theirs.close()


def test_the_view_steers_a_run(tmp_path: Path) -> None:
    """Pause stops all processes and time; hold and kill hit one guest; a closed view ends a pause."""
    attended = Attended(tmp_path)
    attended.thread.start()
    try:
        # The fork server has to be up before textual takes this process's standard error.
        wait_until(lambda: pid_of(attended.results.path, "hypervisor"))
        asyncio.run(attended.watch())
    finally:
        attended.theirs.close()
        attended.thread.join()
        attended.steering.close()
    (report,) = attended.reports
    assert report.summary.valid, report.violations
    assert any("killed by hand" in note for note in report.notes)
    assert any("held by hand" in note for note in report.notes)
    assert still_there(attended.results.path) == []


def test_without_a_terminal_lines_are_printed(tmp_path: Path) -> None:
    """--live into a pipe prints plain progress on standard error, and the run's document stays alone."""
    path = write_scenario(tmp_path)
    chosen = ("--scheme", "claim", "--set", "duration=100", "--no-judge", "--json")
    done = claimlab("run", path, *chosen, "--out", tmp_path / "run", "--live")
    assert done.returncode == 0, done.stderr
    assert re.search(r"host0: \d+ of 100 s, used \d+ %, claimed \d+ %, free \d+ %, \d domains", done.stderr)
    assert "\x1b" not in done.stderr
    assert done.stdout.startswith("{")


def test_ctrl_c_in_the_view_stops_the_run(tmp_path: Path) -> None:
    """On a terminal Ctrl-C ends run and view, leaves no process, and puts the terminal back."""
    controller, terminal = pty.openpty()
    run = tmp_path / "run"
    command = [sys.executable, "-m", "launch", "run", str(write_scenario(tmp_path)), "--scheme", "claim"]
    command += ["--set", "duration=2000", "--out", str(run), "--live"]
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
        running.wait(60)
    finally:
        running.kill()
        running.wait()
        reader.join()
        os.close(controller)
    assert running.returncode == 130, shown[-2000:]
    assert b"every process of the run has been stopped" in shown
    assert shown.rindex(b"\x1b[?1049l") > shown.rindex(b"\x1b[?1049h"), "back on the main screen"
    assert still_there(run) == []
