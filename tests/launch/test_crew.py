"""Processes by the thousand: what each of them, and each look at all of them, costs the launcher."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import multiprocess

from launch.cluster.crew import PRELOAD, Crew
from tests.launch.children import tell_modules, wait_for_ever

IMPORTED_BY_ITSELF = "import sys, multiprocess.forkserver, {}; print(*sys.modules, sep='\\n')"
"""What a fork server has imported before it has any child."""


def test_a_process_imports_nothing_but_its_own_module(tmp_path: Path) -> None:
    """What every process is handed was imported in the fork server: of a thousand each would do it again."""
    code = IMPORTED_BY_ITSELF.format(", ".join(PRELOAD))
    before = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told = tmp_path / "modules"
    with Crew(tmp_path, lambda _role, _pid: None) as crew:
        member = crew.start("child", tell_modules, told, crew.shared_epoch(), crew.shared_cells(2))
        member.process.join()
        assert not crew.failures()
    own = {"__mp_main__", "tests", "tests.launch", tell_modules.__module__}
    assert set(told.read_text(encoding="utf-8").split()) - set(before.stdout.split()) <= own


def test_a_start_asks_nobody_whether_he_still_runs(tmp_path: Path) -> None:
    """multiprocess asks all processes that it knows of at every start, so it knows of none of a crew's."""
    with Crew(tmp_path, lambda _role, _pid: None) as crew:
        first, second = (crew.start(role, wait_for_ever) for role in ("first", "second"))
        assert not multiprocess.active_children()
        assert not crew.trouble()
        second.process.kill()
        while not crew.trouble():
            pass
        assert crew.trouble() == [f"second (pid {second.process.pid}) was ended by signal 9"]
        assert first.alive
    assert first.dismissed
