"""What the schemes are, counted and read from their own source: for `claimlab schemes`.

The seed holds "less than a hundred lines (plus comments)" of a hypervisor against the toolstack's way.
So code lines are counted: of the scheme's own file, and together with the files of toolstack/ that it needs
beyond those that every scheme needs. Blank lines, comments and docstrings are no code.
"""

from __future__ import annotations

import ast
import inspect
import io
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import Any, Final, TypeGuard

import msgspec

from toolstack.interface import Scheme
from toolstack.registry import known_schemes, scheme_class

EVERYBODYS: Final = ("toolstack.interface", "toolstack.builder.build", "toolstack.need")
"""What every scheme stands on."""
_NO_CODE: Final = frozenset(
    {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENCODING,
        tokenize.ENDMARKER,
    }
)


@dataclass(frozen=True)
class Parameter:
    """One key of [scheme.NAME]."""

    name: str
    default: Any
    about: str
    """Its docstring, which ends in the range worth trying."""


@dataclass(frozen=True)
class SchemeFacts:
    """One scheme."""

    name: str
    origin: str
    code_lines: int
    """Of its own file."""
    code_lines_with_helpers: int
    parameters: tuple[Parameter, ...]
    releases: tuple[str, ...]
    """Empty: all."""


def all_facts() -> tuple[SchemeFacts, ...]:
    """Every scheme that is installed, by name. Raises `SchemeError` for one that cannot be loaded."""
    return tuple(facts(name, scheme_class(name)) for name in known_schemes())


def facts(name: str, scheme: type[Scheme]) -> SchemeFacts:
    """What is known of a scheme."""
    own = scheme.__module__
    helpers = _reached([own]) - _reached(EVERYBODYS)
    return SchemeFacts(
        name=name,
        origin=scheme.origin,
        code_lines=code_lines(_source(own)),
        code_lines_with_helpers=sum(code_lines(_source(module)) for module in helpers | {own}),
        parameters=tuple(_parameters(scheme.parameters)) if scheme.parameters is not None else (),
        releases=tuple(scheme.releases or ()),
    )


def code_lines(source: str) -> int:
    """Lines with code on them: neither blank, nor comment, nor docstring."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - set(_docstring_lines(ast.parse(source))))


def _docstring_lines(tree: ast.Module) -> Iterator[int]:
    """Strings that stand alone as a statement, those under an attribute included."""
    for node in ast.walk(tree):
        if _is_text(node):
            yield from range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _is_text(node: ast.AST) -> TypeGuard[ast.Expr]:
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        return False
    return isinstance(node.value.value, str)


def _reached(modules: list[str] | tuple[str, ...]) -> set[str]:
    """Modules of toolstack/ that these import, directly or not, themselves included."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += _imports(_source(module))
    return found


def _imports(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("toolstack."):
            yield str(node.module)


def _source(module: str) -> str:
    try:
        return inspect.getsource(sys.modules.get(module) or import_module(module))
    except OSError:  # a plug-in that comes without its source counts nothing
        return ""


def _parameters(struct: type[msgspec.Struct]) -> Iterator[Parameter]:
    about = _attribute_docstrings(struct)
    for field in msgspec.structs.fields(struct):
        default = None if field.default is msgspec.NODEFAULT else msgspec.to_builtins(field.default)
        yield Parameter(field.name, default, about.get(field.name, ""))


def _attribute_docstrings(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The string under each field."""
    body = next(
        node
        for node in ast.walk(ast.parse(inspect.getsource(sys.modules[struct.__module__])))
        if isinstance(node, ast.ClassDef) and node.name == struct.__name__
    ).body
    found: dict[str, str] = {}
    for field, text in pairwise(body):
        if _is_text(text) and isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            found[field.target.id] = " ".join(str(ast.literal_eval(text.value)).split())
    return found
