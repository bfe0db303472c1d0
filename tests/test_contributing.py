"""CONTRIBUTING.md tells of the repository as it is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def rooms(layers: list[str], apart: str) -> list[tuple[frozenset[str], bool]]:
    """Each layer's rooms, and whether they are kept from seeing each other."""
    return [(frozenset(re.findall(r"\w+", layer)), apart in layer) for layer in layers]


def test_the_rooms_are_those_of_the_import_contracts() -> None:
    """Who may import whom is told as `lint-imports` holds it, and every room of the hypervisor exists."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    held = [rooms(one["layers"], "|") for one in contracts["contracts"] if one["type"] == "layers"]
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    lines = re.findall(r"^ {4}(?:hypervisor: )?(.* > .*)$", text, re.MULTILINE)
    assert [rooms(line.split(">"), "|") for line in lines] == held
    modules = {path.stem for path in (ROOT / "hypervisor").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert frozenset().union(*(layer for layer, _ in held[1])) <= modules
