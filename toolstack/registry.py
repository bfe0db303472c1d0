"""Schemes by name: entry points of the group `claimlab.toolstacks`, or `module:Class`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final

from toolstack.interface import ParametersError, Scheme

GROUP: Final = "claimlab.toolstacks"


class SchemeError(ValueError):
    """A scheme cannot be had; one line that names the cure."""


def known_schemes() -> tuple[str, ...]:
    """Names that entry points offer, sorted."""
    return tuple(sorted(point.name for point in entry_points(group=GROUP)))


def scheme_class(name: str) -> type[Scheme]:
    """The class behind a name. Raises `SchemeError`."""
    if ":" in name:
        return _checked(name, _imported(name))
    for point in entry_points(group=GROUP):
        if point.name == name:
            return _checked(name, point.load())
    known = ", ".join(known_schemes())
    raise SchemeError(f"no scheme {name!r}: name one of {known}, or a class of your own as module:Class")


def _imported(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ImportError as error:
        raise SchemeError(f"scheme {name!r}: {error}: is the module on PYTHONPATH?") from error
    except AttributeError as error:
        raise SchemeError(f"scheme {name!r}: {error}: check the name after the colon") from error


def _checked(name: str, found: Any) -> type[Scheme]:
    if isinstance(found, type) and issubclass(found, Scheme):
        return found
    raise SchemeError(f"scheme {name!r} is no class derived from toolstack.interface.Scheme: derive it")


def make_scheme(name: str, parameters: Mapping[str, Any]) -> Scheme:
    """An instance with its parameters. Raises `SchemeError` for both kinds of fault."""
    kind = scheme_class(name)
    try:
        return kind(parameters)
    except ParametersError as error:
        raise SchemeError(f"scheme {name!r}: {error}") from error


def objection(name: str, release: str) -> str | None:
    """Why that release cannot carry the scheme; None when it can."""
    releases = scheme_class(name).releases
    if releases is None or release in releases:
        return None
    return f"it needs one of {', '.join(releases)}"
