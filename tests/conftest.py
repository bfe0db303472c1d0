"""What every test has at hand: the rule marker and filter, the shared data, the hypothesis profiles."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

# Deterministic: the same commit gives the same verdict on every machine, however slow it is.
settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# For hunting: pytest --hypothesis-profile explore
settings.register_profile("explore", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile("ci")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rule",
        action="append",
        default=[],
        metavar="ID",
        help="run only the tests that carry this rule, C17 for example; may be given several times",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "rule(*ids): the rules of the emulated Xen that the test covers, C17 say"
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """For -n auto: one more than there are cores, because many tests wait for processes of their own."""
    return len(os.sched_getaffinity(0)) + 1


def rules_of(item: pytest.Item) -> set[str]:
    """The rule ids that a collected test carries, from its function, class and module markers alike."""
    return {str(rule) for marker in item.iter_markers("rule") for rule in marker.args}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = set(config.getoption("--rule"))
    if not wanted:
        return
    kept = [item for item in items if rules_of(item) & wanted]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recordings and traces that lies beside the repository; the test is skipped without it."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the recordings and traces in ../shared, a folder beside the repository")
    return folder
