"""How faithfully a guest's balloon follows its target: the behaviours of squeezed's simulator, and yours.

A behaviour is a class with one method (see `Behaviour`). Its constructor takes the options of the
scenario as keyword arguments and refuses bad ones with ValueError. Name it `module:Class`.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeAlias, cast

from guests.errors import GuestConfigError
from hypervisor.public.units import Pages, Seconds


class Behaviour(Protocol):
    """Filters the target before the balloon driver computes its credit."""

    def aim(self, target: Pages, current: Pages, now: Seconds) -> Pages:
        """The pages to aim for at emulated second `now`, when `target` is asked for and `current` are owned.

        Asked before every round of calls, and at every tick while the target is not reached. `current` is
        the answer that stands still; `target` the one that obeys.
        """
        ...


BehaviourFactory: TypeAlias = Callable[..., Behaviour]


def _pages_option(name: str, pages: Pages | None) -> Pages | None:
    if pages is not None and pages < 0:
        raise ValueError(f"behaviour {name}: pages is {pages}, must be 0 or more")
    return pages


class Ideal:
    """Does as told (squeezed: idealised_vm)."""

    def aim(self, target: Pages, current: Pages, now: Seconds) -> Pages:
        """The target."""
        return target


class Floor:
    """Never balloons below `pages` (squeezed: idealised_vm_with_limit); by default, its first size."""

    def __init__(self, pages: Pages | None = None) -> None:
        self._pages = _pages_option("floor", pages)

    def aim(self, target: Pages, current: Pages, now: Seconds) -> Pages:
        """The target, or the floor; a guest that is below the floor already does not rise for it."""
        if self._pages is None:
            self._pages = current
        return max(target, min(self._pages, current))


class Ceiling:
    """Never balloons above `pages` (squeezed: idealised_vm_with_upper_limit); by default, its first size."""

    def __init__(self, pages: Pages | None = None) -> None:
        self._pages = _pages_option("ceiling", pages)

    def aim(self, target: Pages, current: Pages, now: Seconds) -> Pages:
        """The target, or the ceiling; a guest that is above the ceiling already does not fall for it."""
        if self._pages is None:
            self._pages = current
        return min(target, max(self._pages, current))


class Stuck:
    """A balloon driver that has failed completely (squeezed: stuck_vm)."""

    def aim(self, target: Pages, current: Pages, now: Seconds) -> Pages:
        """What the guest has."""
        return current


class Sticky:
    """Moves `stride` pages, then stalls for `pause` seconds (squeezed: intermittently_stuck_vm).

    The defaults are the complaint about squeezed: a guest that moves 1 MiB every 19 s is never found
    uncooperative.
    """

    def __init__(self, stride: Pages = 256, pause: Seconds = 19.0) -> None:
        if stride < 1 or pause < 0:
            raise ValueError(
                f"behaviour sticky: stride {stride}, pause {pause}: need stride >= 1, pause >= 0"
            )
        self._stride = stride
        self._pause = pause
        self._spell_start: Pages | None = None
        self._stalled_until: Seconds = 0.0

    def aim(self, target: Pages, current: Pages, now: Seconds) -> Pages:
        """At most a stride away from where this spell of movement began."""
        if target == current or now < self._stalled_until:
            return current
        if self._spell_start is None:
            self._spell_start = current
        start = self._spell_start
        within_stride = max(start - self._stride, min(start + self._stride, target))
        if within_stride == current:
            self._spell_start = None
            self._stalled_until = now + self._pause
        return within_stride


KNOWN: Final[Mapping[str, BehaviourFactory]] = MappingProxyType(
    {"ideal": Ideal, "floor": Floor, "ceiling": Ceiling, "stuck": Stuck, "sticky": Sticky}
)


def make_behaviour(
    name: str,
    options: Mapping[str, Any] = MappingProxyType({}),
    extra: Mapping[str, BehaviourFactory] = MappingProxyType({}),
) -> Behaviour:
    """The behaviour `name`: a known one, one of `extra`, or `module:Class`.

    Raises `GuestConfigError`, one line that names the cure.
    """
    factory = extra.get(name) or KNOWN.get(name) or _imported(name)
    try:
        return factory(**options)
    except ValueError as error:
        raise GuestConfigError(str(error)) from None
    except TypeError:
        _check_options(name, factory, options)
        raise


def _check_options(name: str, factory: BehaviourFactory, options: Mapping[str, Any]) -> None:
    """GuestConfigError when it does not take these options.

    Asked only of those that failed: to read a class's signature takes longer than to start its guest.
    """
    try:
        inspect.signature(factory).bind(**options)
    except TypeError as error:
        takes = ", ".join(inspect.signature(factory).parameters) or "no options"
        raise GuestConfigError(f"behaviour {name}: {error}; it takes {takes}") from None


def _imported(name: str) -> BehaviourFactory:
    module_name, colon, class_name = name.partition(":")
    if not colon:
        raise GuestConfigError(
            f"unknown behaviour {name!r}: use {', '.join(KNOWN)}, or module:Class of your own"
        )
    try:
        found: object = getattr(importlib.import_module(module_name), class_name, None)
    except Exception as error:  # a module of the user may raise anything while it is imported
        raise GuestConfigError(f"behaviour {name}: cannot import {module_name!r}: {error}") from None
    if not callable(found) or not callable(getattr(found, "aim", None)):
        raise GuestConfigError(
            f"behaviour {name}: {module_name} has no class {class_name!r} with a method "
            "aim(target, current, now)"
        )
    return cast(BehaviourFactory, found)
