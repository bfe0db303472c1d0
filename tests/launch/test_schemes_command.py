"""`claimlab schemes`: every scheme explains itself, and its lines are counted from its source."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest

from launch.schemes import code_lines, facts
from tests.launch.cluster_runs import claimlab
from toolstack.claim import Claim
from toolstack.clamp import Clamp
from toolstack.freeze import Freeze
from toolstack.registry import scheme_class

ROOT = Path(__file__).resolve().parents[2]
REGISTERED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"][
    "claimlab.toolstacks"
]
"""As the distribution registers them, whatever is installed."""
SOURCE = '''"""A docstring
of two lines."""

import os  # a comment behind code

# a comment


class Thing:
    """Another."""

    size: int = 4
    """Under a field."""
    text = """not a docstring,
    but two lines of code"""

    def act(self):
        """One line."""
        return os.sep + (
            "wrapped"
        )
'''


def test_only_code_counts() -> None:
    """import, class, size, two lines of text, def, and three of return: nine."""
    assert code_lines(SOURCE) == 9


def test_helpers_count_once_and_what_everybody_needs_does_not() -> None:
    """claim stands alone; clamp needs helpers; both stand on the interface, which nobody is charged with."""
    claim, clamp = facts("claim", Claim), facts("clamp", Clamp)
    assert claim.code_lines == claim.code_lines_with_helpers < 20
    assert clamp.code_lines_with_helpers > clamp.code_lines > 100


def test_parameters_come_with_their_defaults_and_what_they_mean() -> None:
    """As the struct declares them, the text under each field included."""
    flush, margin = facts("freeze", Freeze).parameters
    assert (flush.name, flush.default, margin.default) == ("flush", "lacking", 0)
    assert flush.about.startswith("What is flushed")
    assert facts("freeze", Freeze).releases == ("4.3", "4.12")


@pytest.mark.parametrize(("name", "place"), REGISTERED.items())
def test_every_scheme_names_its_origin_and_every_parameter_a_range(name: str, place: str) -> None:
    """No straw men: who reads the table knows what to sweep; docs/schemes.md has a section on each."""
    one = facts(name, scheme_class(place))
    assert one.origin
    assert f"\n## {name}" in (ROOT / "docs" / "schemes.md").read_text(encoding="utf-8")
    assert all("Range: " in each.about for each in one.parameters)


def test_the_command_prints_a_table_and_json() -> None:
    """One row a scheme, of which a narrow terminal cuts nothing off; the same facts as JSON."""
    narrow = claimlab("schemes", env={**os.environ, "COLUMNS": "80"})
    assert "margin_per" in narrow.stdout and "\N{HORIZONTAL ELLIPSIS}" not in narrow.stdout
    table = claimlab("schemes", env={**os.environ, "COLUMNS": "160"})
    document = claimlab("schemes", "--json")
    assert table.returncode == document.returncode == 0
    found = {one["name"]: one for one in json.loads(document.stdout)["schemes"]}
    assert all(name in table.stdout for name in found)
    assert found["clamp"]["parameters"][0] == {
        "name": "cuts",
        "default": "proportional",
        "about": "How the cuts are spread over the chosen domains. "
        "Range: equal, proportional, largest-slack.",
    }
