"""A new file written through shared memory: what was written outlives its process, with no system call.

Room is taken from the disk beforehand, and given back at a good end. After a kill it is still there, as
zeros. A write's first byte is set when all others are: a zero in the place of a beginning says that nothing
was written there.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Final

ROOM: Final = 1 << 20
"""Bytes taken at a time."""


class MappedFile:
    """Written from its beginning, by one process. No write may begin with a zero."""

    def __init__(self, path: Path) -> None:
        """FileExistsError when it is there already."""
        self._descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o666)
        self._end = 0
        """Of what is written."""
        self._start = self._room = 0
        """Where the window lies in the file, and how long it is."""
        self._window: mmap.mmap | None = None

    def write(self, content: bytes | bytearray) -> int:
        """Append; whoever opens the file sees it at once. OSError when the disk is full."""
        count = len(content)
        if not count:
            return 0
        window, place = self._window, self._end - self._start
        if window is None or place + count > self._room:
            window, place = self._move(count)
        window[place + 1 : place + count] = content[1:]
        window[place] = content[0]
        self._end += count
        return count

    def flush(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Give back the room that was not needed."""
        if self._window is not None:
            self._window.close()
            self._window = None
        os.ftruncate(self._descriptor, self._end)
        os.close(self._descriptor)

    def _move(self, count: int) -> tuple[mmap.mmap, int]:
        """A window with room for so many bytes behind the end, and where in it the end is."""
        start = self._end - self._end % mmap.ALLOCATIONGRANULARITY
        room = (self._end - start + count + ROOM - 1) // ROOM * ROOM
        os.posix_fallocate(self._descriptor, start, room)
        if self._window is not None:
            self._window.close()
        self._window = mmap.mmap(self._descriptor, room, offset=start)
        self._start, self._room = start, room
        return self._window, self._end - start
