"""When every step was done, in emulated seconds.

A note of the clock stands behind the steps that were done by then, so each batch of steps is held back until
its note has been read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from hypervisor.journal import CLOCK, Block, NoteRecord
from hypervisor.public.orders import Outcome
from hypervisor.public.units import Commit, Seconds
from hypervisor.streams import JournalError
from launch.check.states import Journal

AHEAD: Final = 20_000
"""Records read ahead at most; the notes stand at most a real millisecond apart while steps are done."""


class TimedJournal:
    """A `Journal` that knows the time of the records it hands out."""

    def __init__(self, journal: Journal, outcomes: Iterable[Outcome]) -> None:
        """`outcomes` tell the time, roughly, where a journal has no notes of the clock."""
        self._journal = journal
        self._noted: Seconds | None = None
        known = ((one.commit, one.time) for one in outcomes if one.commit)
        self._said = sorted(known, reverse=True)

    @property
    def header(self) -> dict[str, Any]:
        """The journal's own."""
        return self._journal.header

    def records(self) -> Iterator[Block | NoteRecord]:
        """The journal's own records."""
        batch: list[Block | NoteRecord] = []
        try:
            for record in self._journal.records():
                batch.append(record)
                time = _time(record)
                if time is not None:
                    self._noted = time
                if time is not None or len(batch) >= AHEAD:
                    yield from batch
                    batch.clear()
        except JournalError:
            yield from batch
            raise
        yield from batch

    def now(self, commit: Commit) -> Seconds | None:
        """By when the step with that commit, the last one handed out, was done; None when nothing tells."""
        if self._noted is not None:
            return self._noted
        said = self._said
        while said and said[-1][0] < commit:
            said.pop()
        return said[-1][1] if said else None


def _time(record: Block | NoteRecord) -> Seconds | None:
    if not isinstance(record, NoteRecord) or record.kind != CLOCK:
        return None
    seconds = record.fields.get("s")
    return float(seconds) if isinstance(seconds, int | float) else None
