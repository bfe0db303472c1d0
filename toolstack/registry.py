"""Schemes by name: entry points of the group `claimlab.toolstacks`, or `module:Class`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
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
            return _checked(name, _loaded(name, point))
    known = ", ".join(known_schemes())
    raise SchemeError(f"no scheme {name!r}: name one of {known}, or a class of your own as module:Class")


def _loaded(name: str, point: EntryPoint) -> Any:
    try:
        return point.load()
    except Exception as error:  # whatever an installed package does on import
        raise _fault(name, f"{_told(error)}: install its package anew, or name another scheme") from error


def _imported(name: str) -> Any:
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise _fault(name, "write module:Class, toolstack.claim:Claim for example")
    try:
        found = import_module(module)
    except ImportError as error:
        raise _fault(name, f"{error}: is the module on PYTHONPATH?") from error
    except Exception as error:  # a module of the user's own runs here, and may raise anything
        raise _fault(name, f"importing {module} raised {_told(error)}: repair the module") from error
    try:
        return getattr(found, attribute)
    except AttributeError as error:
        raise _fault(name, f"{error}: check the name after the colon") from error


def _fault(name: str, text: str) -> SchemeError:
    """One line, whatever line breaks an exception's text has."""
    return SchemeError(" ".join(f"scheme {name!r}: {text}".split()))


def _told(error: Exception) -> str:
    """An exception by name and text: a KeyError's text alone is only the key."""
    return f"{type(error).__name__}: {error}"


def _checked(name: str, found: Any) -> type[Scheme]:
    if isinstance(found, type) and issubclass(found, Scheme):
        return found
    raise _fault(name, "is no class derived from toolstack.interface.Scheme: derive it")


def make_scheme(name: str, parameters: Mapping[str, Any]) -> Scheme:
    """An instance with its parameters. Raises `SchemeError` for both kinds of fault."""
    kind = scheme_class(name)
    try:
        return kind(parameters)
    except ParametersError as error:
        raise _fault(name, str(error)) from error
    except Exception as error:  # the __init__ of a class of the user's own
        text = f"its __init__ raised {_told(error)}: repair it or change the table [scheme] of its parameters"
        raise _fault(name, text) from error


def objection(scheme: Scheme | type[Scheme], release: str) -> str | None:
    """Why that release cannot carry the scheme; None when it can. Parameters may narrow an instance's."""
    releases = scheme.releases
    if releases is None or release in releases:
        return None
    return f"it needs one of {', '.join(releases)}"
