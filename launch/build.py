"""Which claimlab this is, so that figures of two different ones are not mixed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from launch.results import versions

PACKAGES: Final = ("hypervisor", "guests", "toolstack", "launch")


@cache
def build() -> str:
    """Version and a digest of the code: the version alone says nothing between two releases."""
    digest = sha256()
    for package in PACKAGES:
        for name, file in sorted(_sources(resources.files(package), package)):
            digest.update(name.encode() + b"\0" + file.read_bytes() + b"\0")
    return f"{versions().get('claimlab', 'not installed')}, code {digest.hexdigest()[:12]}"


def _sources(folder: Traversable, name: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        path = f"{name}/{entry.name}"
        if entry.is_dir():
            yield from _sources(entry, path)
        elif entry.name.endswith(".py"):
            yield path, entry
