"""What pydantic finds wrong, in one line each: place, dotted key, fault and cure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from launch.errors import one_line
from launch.scenario.disturbances import ELSEWHERE, PARTY, POINT
from launch.scenario.document import KeyPath, Source
from launch.scenario.keys import everywhere, keys_of
from launch.scenario.plain import Path, has, is_array, is_table
from launch.scenario.positions import find
from launch.scenario.suggestions import closest, did_you_mean


@dataclass(frozen=True)
class Fault:
    """Something wrong at a key: `text` says what, and the cure."""

    key: Path
    text: str


@dataclass(frozen=True)
class CommandLine:
    """Keys that came from the command line: by --set, and by an option of their own ("seed": "--seed")."""

    sets: tuple[KeyPath, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict[str, str])

    def blame(self, key: Path) -> str | None:
        """What on the command line set the key, or a part of what stands there; None when nothing did."""
        if str(key[0]) in self.options:
            return self.options[str(key[0])]
        parts = tuple(str(part) for part in key)
        for path in reversed(self.sets):
            if parts[: len(path)] == path[: len(parts)]:
                return f"--set {'.'.join(parts if len(parts) > len(path) else path)}"
        return None


def locate(fault: Fault, source: Source, command_line: CommandLine) -> str:
    """`FILE:LINE: KEY: TEXT`, or `--set KEY: TEXT` where the command line is to blame."""
    blamed = command_line.blame(fault.key)
    if blamed is not None:
        return one_line([f"{blamed}: {fault.text}"])
    dotted = ".".join(str(part) for part in fault.key)
    line = _line(fault.key, source)
    return one_line([f"{source.name}{'' if line is None else f':{line}'}: {dotted}: {fault.text}"])


def _line(key: Path, source: Source) -> int | None:
    """The line of the key, looked for in [[hosts]] too, whose tables were laid over [host] and [guests]."""
    if source.name.endswith(".json"):
        return None
    overlay: Path = ("hosts", 0, *key[1:]) if key[0] == "host" else ("hosts", 0, *key)
    matches = [(overlay, len(overlay) - len(key)), (key, 0)]
    found = [(find(source.text, path), further) for path, further in matches]
    (line, _), _ = max(found, key=lambda entry: entry[0][1] - entry[1])
    return line


def faults(error: ValidationError, document: Mapping[str, Any]) -> list[Fault]:
    """One fault a key; unknown and ill-valued keys come before missing ones."""
    found: dict[Path, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        found.setdefault(_key(detail, document), []).append(detail)
    misspelt = {_meant(key, document) for key in found if found[key][0]["type"] == "extra_forbidden"}
    missing = {key for key, details in found.items() if details[0]["type"] == "missing"}
    named = {key for key in found if any(_within(other, key) for other in found)} | (missing & misspelt)
    unordered = (Fault(key, _text(key, found[key], document)) for key in found if key not in named)
    return sorted(unordered, key=lambda fault: fault.key in missing)


def _meant(key: Path, document: Mapping[str, Any]) -> Path:
    """The key beside an unknown one that it resembles: naming it once is enough, even if it is missing."""
    return (*key[:-1], closest(str(key[-1]), keys_of(document, key[:-1])) or "")


def _within(inner: Path, outer: Path) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _key(detail: ErrorDetails, document: Any) -> Path:
    """pydantic's location without the names it gives to the branches of a union, which no file holds."""
    key: list[str | int] = []
    place: Any = document
    for part in detail["loc"]:
        if has(place, part):
            place = place[part]
        elif detail["type"] != "missing" or part != detail["loc"][-1]:
            continue
        key.append(part)
    return tuple(key)


def _text(key: Path, details: Sequence[ErrorDetails], document: Mapping[str, Any]) -> str:
    first = details[0]
    match first["type"]:
        case "extra_forbidden":
            return _unknown(key, document)
        case "missing":
            return f"missing: add {key[-1]} = ..."
        case "value_error" | "assertion_error":
            return str(first.get("ctx", {}).get("error", first["msg"]))
        case "union_tag_not_found":
            return "no kind: add kind = " + _alternatives(_kinds())
        case "union_tag_invalid":
            kind = str(first.get("ctx", {}).get("tag"))
            return f"unknown kind {kind!r}{did_you_mean(kind, _kinds())}: write {_alternatives(_kinds())}"
        case _:
            return _expected(details)


def _kinds() -> tuple[str, ...]:
    return ("constant", "sine", "square", "random-walk", "replay")


def _alternatives(words: Iterable[str]) -> str:
    return ", ".join(f'"{word}"' for word in words)


def _unknown(key: Path, document: Mapping[str, Any]) -> str:
    word, known = str(key[-1]), keys_of(document, key[:-1])
    prefix = "".join(f"{part}." for part in key[:-1])
    here = closest(word, known)
    if here is not None:
        return f"unknown key; did you mean {prefix}{here}?"
    elsewhere = [dotted for dotted in everywhere() if dotted.split(".")[-1] == word]
    if elsewhere:
        return f"unknown key; did you mean {elsewhere[0]}?"
    return f"unknown key: remove it, or use one of {', '.join(known)}"


def _expected(details: Sequence[ErrorDetails]) -> str:
    """ "must be 'random' or a number, not 'x'": the branches of a union in one sentence."""
    wanted = " or ".join(dict.fromkeys(_wanted(detail) for detail in details))
    given = details[0]["input"]
    suggestion = "".join(_literal_suggestion(detail) for detail in details)
    return f"must be {wanted}, not {describe(given)}{suggestion}"


def _literal_suggestion(detail: ErrorDetails) -> str:
    if detail["type"] != "literal_error" or not isinstance(detail["input"], str):
        return ""
    expected = str(detail.get("ctx", {}).get("expected", "")).replace(" or ", ", ").split(", ")
    return did_you_mean(detail["input"], [word.strip("'") for word in expected])


def _wanted(detail: ErrorDetails) -> str:
    ctx: Mapping[str, Any] = detail.get("ctx", {})
    words = {
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "finite_number": "a finite number",
        "string_type": 'text in quotes, "like this"',
        "bool_type": "true or false",
        "tuple_type": "an array, [like, this]",
        "dict_type": "a table",
        "model_type": "a table",
        "model_attributes_type": "a table",
        "path_type": 'a path in quotes, "like/this"',
        "greater_than": f"above {_plain(ctx.get('gt'))}",
        "greater_than_equal": f"{_plain(ctx.get('ge'))} or more",
        "less_than": f"below {_plain(ctx.get('lt'))}",
        "less_than_equal": f"{_plain(ctx.get('le'))} or less",
        "too_short": f"at least {ctx.get('min_length')} long",
        "string_too_short": "some text",
        "string_pattern_mismatch": _PATTERNS.get(str(ctx.get("pattern")), _NAME),
        "literal_error": str(ctx.get("expected")),
    }
    return words.get(detail["type"], detail["msg"])


_NAME: Final = "letters, digits, dots, dashes and underscores, a letter or digit first"
_PATTERNS: Final = {
    PARTY: "toolstack-0, guest-1, launch-1 or hypervisor (with several hosts HOST/guest-1)",
    POINT: "the name of a point, before-populate for example",
    ELSEWHERE: "PARTY:POINT, toolstack-0:clamped for example",
}


def _plain(number: object) -> str:
    return f"{number:.10g}" if isinstance(number, float) else str(number)


def describe(value: object) -> str:
    """A value as its writer would call it."""
    if is_table(value):
        return "a table"
    return "an array" if is_array(value) and value else repr(value)
