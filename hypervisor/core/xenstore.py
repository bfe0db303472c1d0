"""xenstore: a tree of text nodes with watches, by which toolstack and guests talk.

It runs beside the hypervisor and shares its sequence of commits, so that a recorded history has one
total order of everything that happened. The requests are in store_operations.py.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from hypervisor.core.store_watches import Watches


def _root_values() -> dict[str, str]:
    return {"/": ""}


def _root_children() -> dict[str, dict[str, None]]:
    return {"/": {}}


@dataclass(slots=True)
class StoreTree:
    """Nodes by absolute path, with the names of their children."""

    values: dict[str, str] = field(default_factory=_root_values)
    children: dict[str, dict[str, None]] = field(default_factory=_root_children)
    watches: Watches = field(default_factory=Watches)

    def write(self, path: str, value: str) -> None:
        """Set a node, creating it and its parents."""
        self._create(path)
        self.values[path] = value

    def _create(self, path: str) -> None:
        if path in self.values:
            return
        parent, _, name = path.rpartition("/")
        self._create(parent or "/")
        self.children[parent or "/"][name] = None
        self.children[path] = {}
        self.values[path] = ""

    def remove(self, path: str) -> None:
        """Remove a node and all below it."""
        for name in tuple(self.children[path]):
            self.remove(f"{path}/{name}")
        parent, _, name = path.rpartition("/")
        del self.children[parent or "/"][name], self.children[path], self.values[path]

    def count_below(self, prefix: str) -> int:
        """Nodes at or below `prefix`."""
        if prefix not in self.values:
            return 0
        return 1 + sum(self.count_below(f"{prefix}/{name}") for name in self.children[prefix])

    def digest_parts(self) -> Iterator[bytes]:
        """Canonical content of the tree and the watches."""
        content = hashlib.blake2b(digest_size=16)
        for path in sorted(self.values):
            content.update(f"{path}\0{self.values[path]}\0".encode())
        for watch in self.watches:
            content.update(f"{watch.owner.domid}\0{watch.path}\0{watch.token}\0".encode())
        yield content.digest()
