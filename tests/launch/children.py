"""What a crew's processes do in tests; it imports nothing that they have not."""

import signal
import sys
from pathlib import Path


def tell_modules(told: Path, *_handed: object) -> None:
    """Leave the names of all modules that are imported here."""
    partial = told.with_suffix(".partial")
    partial.write_text("\n".join(sys.modules), encoding="utf-8")
    partial.replace(told)


def wait_for_ever() -> None:
    """Until somebody ends it."""
    signal.pause()
