"""The rivals in real processes: one small run, everything admitted is built, nothing is left over."""

from __future__ import annotations

from pathlib import Path

from tests.launch.cluster_runs import SMALL, claimlab, ended, run_until, summary, write_scenario

NAMES = ("toolstack.squeezed:Squeezed", "toolstack.mediated:Mediated")
SMALLER = ("speed=8", "host.memory=520MiB", "arrivals.size=64MiB")
"""Few pages, so that the check is quick: about 168 MiB are free. Four builds would not fit even if all guests
were at its dynamic minimum of 48 MiB."""


def test_daemons_of_rivals_work_and_end_in_real_processes(tmp_path: Path) -> None:
    """squeezed and mediated: valid, what is admitted is built, all is as it was, and the journals replay."""
    run = tmp_path / "run"
    path = write_scenario(tmp_path, SMALL)
    sizes = [word for size in SMALLER for word in ("--set", size)]
    done = run_until(ended(run, 4), run, path, "--scheme", ",".join(NAMES), *sizes, seconds=30)
    assert done.returncode == 0, done.stderr
    for name in NAMES:
        row = summary(run)["schemes"][name]
        assert (row["launches"], row["leftovers"]) == (4, 0)
        assert 1 <= row["admitted"] == 4 - row["refused"] <= 3
        assert row["failed_late"] == 0
    checked = claimlab("check", run)
    assert checked.returncode == 0, checked.stdout
