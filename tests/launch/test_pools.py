"""Work over processes: results come as asked for, and Ctrl-C leaves no process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from launch import pools
from launch.pools import as_they_come, in_order
from tests.launch.cluster_runs import PATIENCE, wait_until

LONG = """
import os, sys, time
from pathlib import Path
from launch.pools import {how}

def nap(number):
    (Path(sys.argv[1]) / str(os.getpid())).touch()
    time.sleep(600)

if __name__ == "__main__":
    list({how}(nap, range(6), 2))
"""


@pytest.mark.parametrize("how", ["in_order", "as_they_come"])
def test_ctrl_c_leaves_no_process(how: str, tmp_path: Path) -> None:
    """An interrupt from the terminal ends whoever works, without a word of theirs, and nothing is begun."""
    script, begun = tmp_path / "long.py", tmp_path / "begun"
    script.write_text(LONG.format(how=how), encoding="utf-8")
    begun.mkdir()
    command = [sys.executable, str(script), str(begun)]
    parent = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_until(lambda: len(list(begun.iterdir())) == 2)
    os.killpg(parent.pid, signal.SIGINT)
    _, errors = parent.communicate(timeout=PATIENCE)
    assert parent.returncode not in (0, None)
    assert "Process Spawn" not in errors
    wait_until(lambda: not is_there(parent.pid))
    assert len(list(begun.iterdir())) == 2


def is_there(group: int) -> bool:
    """Anybody of that process group."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_belong_to_their_tasks(jobs: int) -> None:
    """In order, or each with its task, in one process or in several."""
    assert list(in_order(abs, [-3, 2, -1], jobs)) == [3, 2, 1]
    assert dict(as_they_come(abs, [-3, 2, -1], jobs)) == {-3: 3, 2: 2, -1: 1}


def test_nobody_else_starts_a_pool() -> None:
    """Every command that works over processes does it here, and so is interrupted as this is."""
    files = Path(pools.__file__).parent.rglob("*.py")
    found = [one.name for one in files if "ProcessPoolExecutor" in one.read_text(encoding="utf-8")]
    assert found == ["pools.py"]
