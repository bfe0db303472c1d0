"""`claimlab schemes`: every scheme explains itself, and its lines are counted from its source."""

from __future__ import annotations

import json
import os

import pytest

from launch.schemes import all_facts, code_lines, facts
from tests.launch.cluster_runs import claimlab
from toolstack.claim import Claim
from toolstack.clamp import Clamp
from toolstack.freeze import Freeze

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


@pytest.mark.parametrize("one", all_facts(), ids=lambda one: one.name)
def test_every_scheme_names_its_origin_and_every_parameter_a_range(one) -> None:  # type: ignore[no-untyped-def]
    """No straw men: who reads the table knows what to sweep."""
    assert one.origin
    assert all("Range: " in each.about for each in one.parameters)


def test_the_command_prints_a_table_and_json() -> None:
    """One row a scheme; the same facts as JSON."""
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
