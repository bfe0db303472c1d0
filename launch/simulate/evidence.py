"""What a virtual run leaves for the checker and the judge: the files of a real one, in memory at first.

Nobody races in virtual time, so moments are numbers: emulated nanoseconds since a second before the run, and
one more at each record, which makes the order of the records the order of the events.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec

from guests.report import GuestReport
from hypervisor.core.host import HostConfig
from hypervisor.core.machine import Operation, StepResult
from hypervisor.core.sources import Refusal, refused_allocations
from hypervisor.history import HistoryWriter
from hypervisor.journal import JournalWriter
from hypervisor.public.orders import LaunchOrder, Outcome
from hypervisor.public.requests import Reply, Request
from hypervisor.public.units import Commit, DomId, Seconds
from launch.records import ORDERS, OUTCOMES, order_line, ordered, outcome_line

JOURNAL: Final = "journal.msgpack"
STATS: Final = "hypervisor.json"
NOBODY: Final = 0
"""The pid in headers: there is no process."""
MOST_UNCLOCKED: Final = 10_000
"""Steps of one moment after which the journal tells the time all the same: its readers look no further ahead
than `launch.judge.timing.AHEAD` records, and a host is populated in no time."""

Caller = tuple[DomId, int]
"""(domid, incarnation)."""


class Sheet(io.BytesIO):
    """A file in memory that can still be read when its writer has closed it."""

    def close(self) -> None:
        """Nothing to give back."""


class Evidence:
    """Journal, histories, outcomes and reports of one host; a `HistorySink` for all its parties."""

    def __init__(self, release: str, host: HostConfig, now: Callable[[], Seconds], before: Seconds) -> None:
        """`now` gives emulated seconds; it begins `before` seconds before 0."""
        self._sheets: dict[str, Sheet] = {}
        self._before = before
        self._moment = 0
        self._now = now
        self._last: tuple[Seconds, Commit] = (-before, 0)
        self._unclocked = 0
        self._refused: Counter[Refusal] = Counter()
        header = {
            "release": release,
            "host": msgspec.to_builtins(host),
            "started_ms": 0,
            "pid": NOBODY,
            "virtual": True,
        }
        self._journal = JournalWriter(self._sheet(JOURNAL), header)
        self._histories: dict[Caller, HistoryWriter] = {}
        self._by_name: dict[str, HistoryWriter] = {}

    def _sheet(self, name: str) -> Sheet:
        return self._sheets.setdefault(name, Sheet())

    # ---- what is recorded

    def enter(self, caller: Caller, name: str, header: Mapping[str, Any]) -> None:
        """A party speaks as `caller` from now on; its calls go to the history `name`."""
        if name not in self._by_name:
            file = self._sheet(f"{name}.history")
            self._by_name[name] = HistoryWriter(file, {"pid": NOBODY, **header}, self._next_moment)
        self._histories[caller] = self._by_name[name]

    def _next_moment(self) -> int:
        self._moment = max(self._moment + 1, round((self._now() + self._before) * 1e9))
        return self._moment

    def step(self, operation: Operation, result: StepResult) -> None:
        """An atomic step."""
        now = self._now()
        self._unclocked += 1
        if now != self._last[0] or self._unclocked > MOST_UNCLOCKED:
            self._clock(now)
        self._last = now, result.commit
        if result.refusals:
            self._refused.update(result.refusals)
        first = operation.first_commit == result.commit
        caller = operation.caller
        key = (caller.domid, caller.incarnation)
        self._journal.step(operation.number, key, operation.request if first else None, result.reply)

    def _clock(self, now: Seconds) -> None:
        """When the steps so far were done, once the millisecond in which they were is over."""
        last, commit = self._last
        if self._ms(now) != self._ms(last) or self._unclocked > MOST_UNCLOCKED:
            self._journal.clock(self._ms(last), commit, last)
            self._unclocked = 0

    def _ms(self, now: Seconds) -> int:
        return round((now + self._before) * 1e3)

    def note(self, kind: str, fields: Mapping[str, object]) -> None:
        """Something that changed no book."""
        self._journal.note(kind, self._ms(self._now()), fields)

    def invoked(self, domid: DomId, incarnation: int, seq: int, requests: tuple[Request, ...]) -> None:
        """A party called."""
        self._histories[domid, incarnation].invoked(domid, incarnation, seq, requests)

    def returned(self, domid: DomId, incarnation: int, seq: int, replies: tuple[Reply, ...] | str) -> None:
        """It had its answer."""
        self._histories[domid, incarnation].returned(domid, incarnation, seq, replies)

    def order(self, order: LaunchOrder) -> None:
        """A launch order went out."""
        self._sheet(ORDERS).write(order_line(ordered(order, self._now())))

    def outcome(self, outcome: Outcome) -> None:
        """A toolstack said what became of an order."""
        self._sheet(OUTCOMES).write(outcome_line(outcome))

    def reports(self, reports: Sequence[GuestReport]) -> None:
        """The guests' own figures at the end."""
        for one in reports:
            name = f"guests/guest-{one.domid}-{one.incarnation}.json"
            self._sheet(name).write(msgspec.json.encode(one) + b"\n")

    def end(self, stats: Mapping[str, object]) -> None:
        """The hypervisor stops in good order: the journal's last note, and hypervisor.json."""
        now, commit = self._last
        self._journal.clock(self._ms(now), commit, now)
        told = {**stats, "refused": refused_allocations(self._refused)}
        self.note("end", told)
        self._sheet(STATS).write(msgspec.json.encode(told) + b"\n")

    # ---- what remains

    def close(self) -> None:
        """Nothing more will be recorded."""
        self._journal.close()
        for writer in self._by_name.values():
            writer.close()

    def files(self) -> Mapping[str, bytes]:
        """Every file by its name in the host's folder, whole once closed."""
        return {name: sheet.getvalue() for name, sheet in self._sheets.items()}

    def write(self, folder: Path) -> None:
        """Leave the files in `folder`, as a real run does. FileExistsError where one is there already."""
        (folder / "guests").mkdir(parents=True, exist_ok=True)
        for name, content in self.files().items():
            with (folder / name).open("xb") as file:
                file.write(content)

    def journal_digest(self) -> str:
        """Of every byte of the journal."""
        return digest(self._sheets[JOURNAL].getvalue())


def digest(content: bytes) -> str:
    """16 bytes in hexadecimal."""
    return blake2b(content, digest_size=16).hexdigest()
