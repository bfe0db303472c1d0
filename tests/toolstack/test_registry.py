"""Schemes by name: the built-in ones, classes of one's own, and what is said when there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from toolstack import registry
from toolstack.claim import Claim
from toolstack.clamp import Clamp
from toolstack.interface import Scheme
from toolstack.naive import Naive
from toolstack.registry import SchemeError, known_schemes, make_scheme, objection, scheme_class


class Mine(Scheme):
    """A scheme of somebody's own, for 4.22 only."""

    releases: Sequence[str] | None = ("4.22",)


class Broken(Scheme):
    """A scheme whose __init__ has a fault."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        raise KeyError("cut\nof two lines")


def test_the_built_in_schemes_are_entry_points() -> None:
    """naive, claim and clamp are found as any plug-in is."""
    assert set(known_schemes()) >= {"naive", "claim", "clamp"}
    assert [scheme_class(name) for name in ("naive", "claim", "clamp")] == [Naive, Claim, Clamp]


def test_a_class_of_ones_own_is_named_as_module_and_class() -> None:
    """`module:Class` needs no registration."""
    assert isinstance(make_scheme(f"{__name__}:Mine", {}), Scheme)


@pytest.mark.parametrize(
    ("name", "parameters", "line"),
    [
        ("clam", {}, "no scheme 'clam': name one of "),
        ("no.such.module:Mine", {}, "is the module on PYTHONPATH?"),
        ("toolstack.claim:Nothing", {}, "check the name after the colon"),
        ("toolstack.claim:errno_name", {}, "derive it"),
        (":Mine", {}, "write module:Class"),
        ("toolstack.claim:", {}, "write module:Class"),
        (".claim:Claim", {}, "repair the module"),
        (f"{__name__}:Broken", {}, "its __init__ raised KeyError: 'cut"),
        (f"{__name__}:Broken", {}, "repair it or change"),
        ("naive", {"cuts": "equal"}, "takes no parameters: remove cuts"),
        ("clamp", {"cuts": "fair"}, "'fair'"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_line(name: str, parameters: dict[str, str], line: str) -> None:
    """One line with the cure."""
    with pytest.raises(SchemeError) as error:
        make_scheme(name, parameters)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("fault", ["1 / 0", "import os; os.nothing", "def broken("])
def test_a_module_that_raises_on_import_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Whatever the module raises, it is the module that is to be repaired, not the name after the colon."""
    (tmp_path / "raises_on_import.py").write_text(fault, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(
        SchemeError, match=r"importing raises_on_import raised \w+Error: .*repair the module$"
    ):
        make_scheme("raises_on_import:Mine", {})


def test_an_entry_point_that_cannot_be_loaded_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that is broken is no traceback either."""
    broken = EntryPoint("mine", "no.such.module:Mine", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: (broken,))
    with pytest.raises(SchemeError, match=r"^scheme 'mine': ModuleNotFoundError: .*install its package anew"):
        scheme_class("mine")


def test_a_release_that_cannot_carry_a_scheme_is_objected_to() -> None:
    """`releases` of the class decides."""
    assert objection(Mine, "4.22") is None
    assert objection(Mine, "4.17") == "it needs one of 4.22"
    assert objection(scheme_class("naive"), "4.3") is None
