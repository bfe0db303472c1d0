"""Who watches what in xenstore, found by path and by owner: a thousand guests have a watch each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter

from hypervisor.core.steps import Caller


@dataclass(frozen=True, slots=True)
class Watch:
    """One caller's interest in a path and all below it."""

    owner: Caller
    path: str
    token: str


@dataclass(slots=True)
class Watches:
    """All watches, in the order in which they were set."""

    _numbers: dict[Watch, int] = field(default_factory=dict[Watch, int])
    _at: dict[str, dict[Watch, int]] = field(default_factory=dict[str, dict[Watch, int]])
    _of: dict[Caller, int] = field(default_factory=dict[Caller, int])
    _last: int = 0

    def __contains__(self, watch: Watch) -> bool:
        return watch in self._numbers

    def __iter__(self) -> Iterator[Watch]:
        return iter(self._numbers)

    def count_of(self, owner: Caller) -> int:
        """How many are its own."""
        return self._of.get(owner, 0)

    def add(self, watch: Watch) -> None:
        """Set one that is not there."""
        self._last += 1
        self._numbers[watch] = self._at.setdefault(watch.path, {})[watch] = self._last
        self._of[watch.owner] = self.count_of(watch.owner) + 1

    def remove(self, watch: Watch) -> None:
        """Drop one that is there; nothing is kept of paths that nobody watches."""
        there = self._at[watch.path]
        del self._numbers[watch], there[watch]
        if not there:
            del self._at[watch.path]
        self._of[watch.owner] -= 1

    def fired(self, path: str, removed: bool) -> Iterator[Watch]:
        """Those that a change at `path` fires, in the order they were set.

        A removal also concerns whoever watches something below.
        """
        if removed:
            return (
                one
                for one in self._numbers
                if is_at_or_below(path, one.path) or is_at_or_below(one.path, path)
            )
        found = [item for place in at_and_above(path) for item in self._at.get(place, {}).items()]
        return (watch for watch, _ in sorted(found, key=itemgetter(1)))


def at_and_above(path: str) -> Iterator[str]:
    """A path and its ancestors, "/" last."""
    while path not in ("", "/"):
        yield path
        path = path.rpartition("/")[0]
    yield "/"


def is_at_or_below(path: str, ancestor: str) -> bool:
    """True when `path` is `ancestor` or lies below it."""
    return path == ancestor or ancestor == "/" or path.startswith(ancestor + "/")
