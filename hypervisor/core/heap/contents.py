"""What each frame holds: a number that stands for 4 KiB. Frames that hold zeros are not listed."""

import struct
from collections.abc import Iterator


class FrameContents:
    """Contents by mfn; a frame never written, or freed since, holds 0."""

    __slots__ = ("_contents",)

    def __init__(self) -> None:
        self._contents: dict[int, int] = {}

    def __bool__(self) -> bool:
        """True while any frame holds something."""
        return bool(self._contents)

    def get(self, mfn: int) -> int:
        """What the frame holds."""
        return self._contents.get(mfn, 0)

    def put(self, mfn: int, content: int) -> None:
        """Overwrite the frame."""
        if content:
            self._contents[mfn] = content
        else:
            self._contents.pop(mfn, None)

    def forget(self, mfn: int, order: int) -> None:
        """2^order frames from `mfn` on leave their owner; whoever gets them next finds zeros."""
        contents = self._contents
        if 1 << order <= len(contents):
            for frame in range(mfn, mfn + (1 << order)):
                contents.pop(frame, None)
        else:
            for frame in [one for one in contents if mfn <= one < mfn + (1 << order)]:
                del contents[frame]

    def digest_parts(self) -> Iterator[bytes]:
        """Every frame that holds something, by mfn."""
        for mfn in sorted(self._contents):
            yield struct.pack("<QQ", mfn, self._contents[mfn])
