"""The house rules that no linter knows, held over every source file: size, purity, imports, mutable state."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("hypervisor", "guests", "toolstack", "launch")
MAX_LINES = 400

# Code that runs unchanged in a real process and in virtual time, so it may ask the machine for nothing.
PURE = (
    "hypervisor/public/",
    "hypervisor/core/",
    "hypervisor/session",
    "hypervisor/tasks",
    "guests/",
    "toolstack/",
)
# The files in which a coroutine meets its real process.
ENTRY_FILES = frozenset({"process.py", "transport.py"})

CLOCKS = frozenset({"asyncio", "datetime", "sched", "time", "uuid"})
PROCESSES = frozenset(
    {"_thread", "concurrent", "multiprocess", "multiprocessing", "signal", "subprocess", "threading"}
)
OUTSIDE = frozenset(
    {"dill", "logging", "pickle", "secrets", "select", "selectors", "socket", "ssl", "tempfile", "zmq"}
)
OUR_SHELLS = frozenset({"hypervisor.process", "hypervisor.rounds", "hypervisor.edge", "hypervisor.transport"})
BANNED_IMPORTS = CLOCKS | PROCESSES | OUTSIDE | OUR_SHELLS

MUTABLE_NODES = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp)
BUILTIN_CALLS = frozenset({"bytearray", "dict", "list", "set"})
LIBRARY_CALLS = frozenset({"Counter", "OrderedDict", "Random", "array", "count", "defaultdict", "deque"})
MUTABLE_CALLS = BUILTIN_CALLS | LIBRARY_CALLS

Check = Callable[[ast.Module], Iterator[str]]


def called(node: ast.AST | None) -> str:
    """The bare name of what a call expression calls, "" for anything that is no call."""
    if not isinstance(node, ast.Call):
        return ""
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import, `from a import b` as both a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def within(name: str, banned: frozenset[str]) -> bool:
    return any(name == top or name.startswith(top + ".") for top in banned)


def banned_imports(tree: ast.Module) -> Iterator[str]:
    yield from (f"{line}: imports {name}" for line, name in imported(tree) if within(name, BANNED_IMPORTS))


def any_random(tree: ast.Module) -> Iterator[str]:
    yield from (
        f"{line}: imports {name}" for line, name in imported(tree) if within(name, frozenset({"random"}))
    )


def unseeded_random(tree: ast.Module) -> Iterator[str]:
    """Only random.Random with a seed is a stream that can be replayed."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "random":
            yield from (f"{node.lineno}: random.{a.name}" for a in node.names if a.name != "Random")
        elif isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "random":
            if node.attr != "Random":
                yield f"{node.lineno}: random.{node.attr}"
        elif called(node) == "Random" and isinstance(node, ast.Call) and not (node.args or node.keywords):
            yield f"{node.lineno}: Random() without a seed"


def local_imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from (f"{line}: imports {name} inside a function" for line, name in imported(node))


def more_than_docstring(tree: ast.Module) -> Iterator[str]:
    body = tree.body[1:] if ast.get_docstring(tree) is not None else tree.body
    yield from (f"{node.lineno}: an __init__ holds a docstring and nothing else" for node in body)


def module_statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run at import, those under a module level if, try or with included."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            for field in ("body", "orelse", "finalbody"):
                yield from module_statements(getattr(node, field, []))


def mutable_state(tree: ast.Module) -> Iterator[str]:
    """MappingProxyType, tuple and frozenset are the ways to keep a table at module level."""
    for node in module_statements(tree.body):
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) else None
        if isinstance(value, MUTABLE_NODES) or called(value) in MUTABLE_CALLS:
            yield f"{node.lineno}: mutable state at module level"
    for inner in ast.walk(tree):
        if isinstance(inner, ast.Global):
            yield f"{inner.lineno}: global {', '.join(inner.names)}"


def floats(tree: ast.Module) -> Iterator[str]:
    """Pages are counted, so neither a float nor the division that makes one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            yield f"{node.lineno}: the float {node.value}"
        elif isinstance(node, ast.Name) and node.id == "float":
            yield f"{node.lineno}: float"
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            yield f"{node.lineno}: true division; use // on whole pages"


def set_iteration(tree: ast.Module) -> Iterator[str]:
    """A set has no order of its own that a replay could keep; sorted() gives it one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            source = node.iter
            if isinstance(source, ast.Set | ast.SetComp) or called(source) in {"set", "frozenset"}:
                yield f"{source.lineno}: iterates over a set"


def claimless_tests(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or ast.get_docstring(node):
            continue
        if node.name.startswith("test_"):
            yield f"{node.lineno}: {node.name} has no docstring that states its claim"


def sources(*tops: str) -> list[str]:
    """Every Python file under the given top folders, as posix paths from the repository's root."""
    found = (path for top in tops for path in (ROOT / top).rglob("*.py"))
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def pure(*prefixes: str) -> list[str]:
    names = sources(*PACKAGES)
    return [name for name in names if name.startswith(prefixes) and Path(name).name not in ENTRY_FILES]


def complaints(check: Check, names: list[str]) -> list[str]:
    return [
        f"{name}:{complaint}"
        for name in names
        for complaint in check(ast.parse((ROOT / name).read_text(encoding="utf-8"), name))
    ]


def test_no_file_is_over_400_lines() -> None:
    """No source file, tests included, is longer than 400 lines."""
    sizes = {
        name: len((ROOT / name).read_text(encoding="utf-8").splitlines())
        for name in sources(*PACKAGES, "tests")
    }
    assert {name: size for name, size in sizes.items() if size > MAX_LINES} == {}


def test_every_package_is_looked_at() -> None:
    """Each of the four packages has sources here, so that the rules below hold something."""
    assert all(sources(package) for package in PACKAGES)
    assert pure("hypervisor/core/") and pure("hypervisor/public/")


@pytest.mark.parametrize(
    ("check", "names"),
    [
        pytest.param(banned_imports, pure(*PURE), id="pure code imports no clock, socket, process or log"),
        pytest.param(unseeded_random, pure(*PURE), id="pure code draws only from a seeded stream"),
        pytest.param(any_random, pure("hypervisor/core/"), id="no randomness in the core"),
        pytest.param(mutable_state, pure(*PURE), id="no mutable state at module level"),
        pytest.param(floats, pure("hypervisor/core/"), id="no float in the accounting"),
        pytest.param(set_iteration, pure("hypervisor/core/"), id="no iteration over sets in the core"),
        pytest.param(local_imports, sources(*PACKAGES), id="no import inside a function"),
        pytest.param(
            more_than_docstring,
            [name for name in sources(*PACKAGES) if name.endswith("__init__.py")],
            id="an __init__ re-exports nothing",
        ),
        pytest.param(claimless_tests, sources("tests"), id="every test states its claim"),
    ],
)
def test_sources_keep_the_house_rules(check: Check, names: list[str]) -> None:
    """Every source file keeps the rule."""
    assert complaints(check, names) == []


@pytest.mark.parametrize(
    ("check", "bad", "good"),
    [
        (banned_imports, "import time", "import timeit"),
        (banned_imports, "from os import path\nfrom zmq.asyncio import Socket", "from os import path"),
        (banned_imports, "from hypervisor import transport", "from hypervisor import public"),
        (
            unseeded_random,
            "import random\nx = random.random()",
            "import random\nx = random.Random(7).random()",
        ),
        (
            unseeded_random,
            "from random import Random\nx = Random()",
            "from random import Random\nx = Random(7)",
        ),
        (unseeded_random, "from random import choice", "from random import Random"),
        (any_random, "from random import Random", "import operator"),
        (mutable_state, "T = {}", "T = MappingProxyType({})"),
        (mutable_state, "if True:\n    T: list[int] = []", "T: Final = (1, 2)"),
        (mutable_state, "T = collections.deque()", "T = frozenset({1})"),
        (mutable_state, "def f():\n    global T\n    T = 1", "def f():\n    t = []"),
        (floats, "x = 1 / 2", "x = 1 // 2"),
        (floats, "x = 0.5", "x = 5"),
        (set_iteration, "for x in {1, 2}: pass", "for x in sorted({1, 2}): pass"),
        (set_iteration, "y = [x for x in set(z)]", "y = {x for x in z}"),
        (local_imports, "def f():\n    import os", "import os\ndef f(): pass"),
        (more_than_docstring, '"""D."""\nfrom .a import b', '"""D."""'),
        (more_than_docstring, "x = 1", ""),
        (claimless_tests, "def test_a(): pass", 'def test_a():\n    """It holds."""'),
    ],
)
def test_checks_tell_bad_from_good(check: Check, bad: str, good: str) -> None:
    """Each check finds the fault it is there for and is silent about its lawful neighbour."""
    assert list(check(ast.parse(bad)))
    assert not list(check(ast.parse(good)))
