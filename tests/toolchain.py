"""Programs that some tests need and that pip cannot install: chromium, redis, node, cc.

A test without its program skips and says so; CLAIMLAB_REQUIRE=chromium,redis turns the skip into a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

PROGRAMS = {"chromium": "chromium", "redis": "redis-server", "node": "node", "cc": "cc"}


def need(name: str, *libraries: str) -> str:
    """The program's path; skips or fails the test when it, or a library (by pkg-config), is not there."""
    path = shutil.which(PROGRAMS[name])
    if path is None:
        _without(name, f"no {PROGRAMS[name]} on this machine")
    if libraries and not _has(libraries):
        _without(name, f"pkg-config does not find {' '.join(libraries)}")
    assert path is not None
    return path


def _has(libraries: tuple[str, ...]) -> bool:
    pkg_config = shutil.which("pkg-config")
    if pkg_config is None:
        return False
    return subprocess.run([pkg_config, "--exists", *libraries], check=False).returncode == 0


def _without(name: str, reason: str) -> None:
    required = os.environ.get("CLAIMLAB_REQUIRE", "")
    if name in required.split(","):
        pytest.fail(f"CLAIMLAB_REQUIRE={required}: {reason}")
    pytest.skip(f"{reason} (CLAIMLAB_REQUIRE={name} makes this a failure)")
