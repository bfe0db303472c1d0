"""The histories of all parties of a host as one stream of events in the order of the machine's clock."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NoReturn

from msgspec import Struct

from hypervisor.history import HistoryReader
from hypervisor.streams import JournalError
from launch.check.finding import EvidenceError, Finding, Kind

INVOKED: Final = 0
RETURNED: Final = 1


class Event(Struct, frozen=True, order=True, gc=False):
    """An invocation or a return. Sorts by time; of the same instant, invocations come first."""

    time: int
    """Real nanoseconds."""
    kind: int
    file: int
    """Index of the history."""
    record: int
    speaker: tuple[int, int]
    """(domid, incarnation)."""
    seq: int
    content: Any
    """Requests; or (ret, first, last) of each; or an error."""


class Histories:
    """The histories of one host. A context manager: it holds their files open."""

    def __init__(self, folder: Path) -> None:
        self.paths: Sequence[Path] = tuple(sorted(folder.rglob("*.history")))
        self.names = tuple(str(path.relative_to(folder)) for path in self.paths)
        self.torn: list[str] = []
        """Histories whose writer was killed in mid-record."""
        self._stack = ExitStack()

    def __enter__(self) -> Histories:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def events(self) -> Iterator[Event]:
        """All events, merged; one record of each file in memory. EvidenceError for what is no history."""
        return heapq.merge(*(self._events(index) for index in range(len(self.paths))))

    def _events(self, index: int) -> Iterator[Event]:
        path = self.paths[index]
        size = path.stat().st_size
        if size == 0:
            return  # killed before it wrote its header
        file = self._stack.enter_context(path.open("rb"))
        number, last = 0, 0
        try:
            reader = HistoryReader(file)
            for invoked, time, domid, incarnation, seq, content in reader.entries():
                number += 1
                if time < last:
                    self._fault(index, number, f"it was written {last - time} ns before the one before it")
                last = time
                kind = INVOKED if invoked else RETURNED
                yield Event(time, kind, index, number, (domid, incarnation), seq, content)
        except JournalError as error:
            self._fault(index, number + 1, str(error))
        if reader.place < size:
            self.torn.append(self.names[index])

    def _fault(self, index: int, number: int, text: str) -> NoReturn:
        raise EvidenceError(Finding(Kind.DAMAGED, self.names[index], number, 0, text))
