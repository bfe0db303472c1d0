"""docs/scenario.md from the models: every table and key of a scenario file.

`python -m launch.reference.scenario` writes the page; a test fails when it is stale.
"""

from __future__ import annotations

import ast
import inspect
import io
import textwrap
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_args

from pydantic.fields import FieldInfo

from launch.scenario.disturbances import FaultTable, HoldTable, LinksTable
from launch.scenario.models import (
    MOST_LAUNCHES,
    ArrivalsTable,
    Builder,
    GuestsTable,
    HostsTable,
    HostTable,
    ReleaseName,
    Scenario,
    ToolstackTable,
)
from launch.scenario.placement import PlacementTable
from launch.scenario.sizes import format_size
from launch.scenario.table import Table
from launch.scenario.workloads import (
    ConstantDemand,
    RandomWalkDemand,
    ReplayDemand,
    SineDemand,
    SquareDemand,
)

PAGE: Final = Path("docs/scenario.md")
TABLES: Final[tuple[tuple[str, type[Table]], ...]] = (
    ("The top of the file", Scenario),
    ("[host]", HostTable),
    ("[guests]", GuestsTable),
    ("[[hosts]]", HostsTable),
    ("[placement]", PlacementTable),
    ("[arrivals]", ArrivalsTable),
    ("[toolstack]", ToolstackTable),
    ("[links]", LinksTable),
    ("[[holds]]", HoldTable),
    ("[[faults]]", FaultTable),
    ("A workload of kind constant", ConstantDemand),
    ("A workload of kind sine", SineDemand),
    ("A workload of kind square", SquareDemand),
    ("A workload of kind random-walk", RandomWalkDemand),
    ("A workload of kind replay", ReplayDemand),
)
INTRODUCTION: Final = """\
# Scenario reference

Generated from `launch/scenario` by `python -m launch.reference.scenario`. Do not edit.

A scenario is a TOML file. `claimlab scenarios` lists the built-in ones, whose files explain themselves;
`--set KEY=VALUE` changes any key for one run (`--set guests.count=40`). A **size** is a number of pages, or
text with a unit: `"512MiB"`, `"16GiB"`. Seconds are emulated. A workload is an entry of the list
`guests.workload` or `arrivals.workload`, and `weight` is its share of the guests.
"""


def scenario_page() -> str:
    """The page's text."""
    lines = [INTRODUCTION]
    for title, table in TABLES:
        lines += [f"## {title}", "", inspect.getdoc(table) or "", ""]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        comments = dict(_comments(table))
        lines += [_row(name, field, comments) for name, field in table.model_fields.items()]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _row(name: str, field: FieldInfo, comments: Mapping[str, tuple[str, str]]) -> str:
    kind, comment = comments.get(name, ("", ""))
    cells = (f"`{name}`", _kind(kind), _default(field, kind), comment)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _kind(annotation: str) -> str:
    """A type as a reader of TOML sees it."""
    return _shown(ast.parse(annotation, mode="eval").body) if annotation else ""


def _shown(node: ast.expr) -> str:
    match node:
        case ast.BinOp():
            return " or ".join(one for one in (_shown(node.left), _shown(node.right)) if one)
        case ast.Subscript(value=ast.Name("Annotated"), slice=ast.Tuple(elts=[inner, *limits])):
            return " ".join([_shown(inner), *(text for one in limits if (text := _limits(one)))])
        case ast.Subscript(value=ast.Name("Literal"), slice=chosen):
            values = chosen.elts if isinstance(chosen, ast.Tuple) else [chosen]
            return " or ".join(f"`{ast.unparse(one)}`" for one in values).replace("'", '"')
        case ast.Subscript(value=ast.Name("Tuple" | "tuple"), slice=ast.Tuple(elts=[inner, *_])):
            return f"list of {_shown(inner)}"
        case ast.Subscript(value=ast.Name("Tuple"), slice=inner):
            return f"list of {_shown(inner)}"
        case ast.Subscript(value=ast.Name("dict")):
            return "table"
        case ast.Constant(value=None):
            return ""
        case _:
            name = ast.unparse(node)
            return "table" if name.endswith("Table") else _NAMES.get(name, name.lower())


def _limits(node: ast.expr) -> str:
    """What `Field(ge=0, le=1)` allows."""
    if not isinstance(node, ast.Call):
        return ""
    words = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    found = [(words[one.arg], ast.unparse(one.value)) for one in node.keywords if one.arg in words]
    return ", ".join(f"{word} {_NAMES.get(value, value)}" for word, value in found)


_NAMES: Final = {
    "PositiveSize": "size",
    "PositiveSeconds": "seconds > 0",
    "Count": "int >= 1",
    "ReleaseName": " or ".join(f'`"{one}"`' for one in get_args(ReleaseName)),
    "Builder": " or ".join(f'`"{one}"`' for one in get_args(Builder)),
    "MOST_LAUNCHES": f"{MOST_LAUNCHES}",
    "TracePath": "path",
    "str": "text",
    "Demand": "workload",
    "Party": "party",
    "Elsewhere": "party:point",
    "Share": "float >= 0, < 1",
}


def _default(field: FieldInfo, kind: str) -> str:
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True, validated_data={})
    match value:
        case None | "" | () | Table() | {}:
            return ""
        case bool():
            return f"`{str(value).lower()}`"
        case int() if kind.removesuffix(" | None") in ("Size", "PositiveSize"):
            return format_size(value) if value else "0"
        case (str(), *_):
            return f"`{', '.join(map(str, value))}`"
        case _:
            return f"`{value}`"


def _comments(table: type[Table]) -> Iterator[tuple[str, tuple[str, str]]]:
    """(field, (type as written, comment)), those of the base classes first."""
    for base in reversed(table.__mro__[: table.__mro__.index(Table)]):
        yield from _own_comments(base)


def _own_comments(table: type) -> Iterator[tuple[str, tuple[str, str]]]:
    source = textwrap.dedent(inspect.getsource(table))
    remarks = _remarks(source)
    (tree,) = ast.parse(source).body
    assert isinstance(tree, ast.ClassDef)
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            text = " ".join(remarks[line] for line in lines if line in remarks)
            yield node.target.id, (ast.unparse(node.annotation), text)


def _remarks(source: str) -> dict[int, str]:
    """Line -> its comment."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {one.start[0]: one.string.lstrip("# ") for one in tokens if one.type == tokenize.COMMENT}


def main() -> None:
    """Write the page below the current directory."""
    PAGE.write_text(scenario_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
