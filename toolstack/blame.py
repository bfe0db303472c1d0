"""What a plug-in's own exception is told as: one line that leads to the place."""

from __future__ import annotations

import traceback
from typing import Final

from hypervisor.public.orders import RAISED

MOST_FRAMES: Final = 3


def raised(error: BaseException, ours: str) -> str:
    """The exception and the innermost frames it came through, innermost first, without the file `ours`.

    Where an answer was at fault and not the plug-in's code, all frames are ours, and there is none to tell.
    """
    frames = [one for one in traceback.extract_tb(error.__traceback__) if one.filename != ours]
    places = [
        f"{one.filename}:{one.lineno} in {one.name}: {one.line}" for one in reversed(frames[-MOST_FRAMES:])
    ]
    what = " ".join("".join(traceback.format_exception_only(error)).split())
    return "; ".join((f"{RAISED}: {what}", *(f"at {place}" for place in places)))
