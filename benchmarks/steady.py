"""A recorded run of any length whose end is like its beginning: what checking long runs is measured with.

The machine is the real one and the files come from the real writers. Several parties are under way at a time,
one step each in a random order, so that operations overlap as they do between processes. Every guest toggles
balloon slots, of which half are out at any time; claims come and go; limits move above what is held.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from hypervisor.core.host import HostConfig, new_host
from hypervisor.core.machine import Machine, Operation
from hypervisor.core.releases import release
from hypervisor.core.steps import Caller
from hypervisor.history import HistoryWriter
from hypervisor.journal import JournalWriter
from hypervisor.public.domctl import (
    CDF_HAP,
    CDF_HVM,
    Created,
    CreateDomain,
    GetDomainInfo,
    MaxMem,
    Physinfo,
    UnpauseDomain,
)
from hypervisor.public.memory import ClaimPages, CurrentReservation, DecreaseReservation, PopulatePhysmap
from hypervisor.public.requests import Reply, Request
from hypervisor.public.tmem import (
    TMEM_EPHEMERAL,
    TMEM_PERSISTENT,
    TmemFlushPage,
    TmemGetPage,
    TmemNewPool,
    TmemPutPage,
)
from hypervisor.public.units import DOMID_SELF, DomId, Pages, pages_to_kib
from hypervisor.public.xenstore import StoreRead, StoreWrite, memory_target_path
from launch.check.host import JOURNAL

RELEASE: Final = "4.12"
"""The last one with tmem."""
CONFIG: Final = HostConfig((1 << 17,), dom0_pages=4096, xen_pages=2048, tmem=True)
GUESTS: Final = 50
TOOLSTACKS: Final = 4
BUILT: Final[Pages] = 1024
"""What a guest always holds, in extents of 2 MiB."""
SLOTS: Final = 32
SLOT: Final[Pages] = 3
"""What comes or goes with one populate or decrease."""
LIMIT: Final[Pages] = BUILT + SLOTS * SLOT
NAMES: Final = 64
"""Pages that a guest puts and gets, in each of its two pools of tmem."""
POOLS: Final = (TMEM_EPHEMERAL, TMEM_PERSISTENT)
UNDER_WAY: Final = 8
"""Parties that have asked and wait."""


class Party:
    """Asks one thing at a time and keeps a history."""

    def __init__(self, caller: Caller, history: HistoryWriter) -> None:
        self.caller = caller
        self.history = history
        self.seq = 0

    def invoked(self, request: Request) -> None:
        """It asks."""
        self.seq += 1
        self.history.invoked(self.caller.domid, self.caller.incarnation, self.seq, (request,))

    def returned(self, reply: Reply) -> None:
        """It was answered."""
        self.history.returned(self.caller.domid, self.caller.incarnation, self.seq, (reply,))
        if self.history.is_long():
            self.history.flush()


class Recorder:
    """The machine of one host, its journal and its parties' histories."""

    def __init__(self, folder: Path) -> None:
        """`folder` exists and is empty."""
        self._folder = folder
        self._machine = Machine(new_host(CONFIG, release(RELEASE)))
        self._clock = itertools.count(1000, 1000)
        header = {"release": RELEASE, "host": msgspec.to_builtins(CONFIG)}
        self._journal = JournalWriter((folder / JOURNAL).open("xb"), header)
        self._histories = ExitStack()
        self.operations = 0
        """Finished ones."""

    def party(self, caller: Caller) -> Party:
        """Somebody who asks from now on."""
        file = (self._folder / f"{caller.domid}-{caller.incarnation}.history").open("xb")
        history = HistoryWriter(file, {"pid": 1}, lambda: next(self._clock))
        self._histories.callback(history.close)
        return Party(caller, history)

    def ask(self, party: Party, request: Request) -> Operation:
        """Under way, no step done."""
        party.invoked(request)
        return self._machine.submit(party.caller, request)

    def advance(self, party: Party, operation: Operation) -> bool:
        """One step if it can be done now; True when the party has its answer."""
        if not self._machine.is_runnable(operation):
            return False
        first = operation.first_commit == 0
        result = self._machine.step(operation)
        caller = (party.caller.domid, party.caller.incarnation)
        self._journal.step(operation.number, caller, operation.request if first else None, result.reply)
        if result.reply is None:
            return False
        self.operations += 1
        if self._journal.is_long():
            self._journal.flush()
        party.returned(result.reply)
        return True

    def alone(self, party: Party, request: Request) -> Reply:
        """With nobody in between."""
        operation = self.ask(party, request)
        while not self.advance(party, operation):
            pass
        assert operation.reply is not None
        return operation.reply

    def close(self) -> None:
        """A good end."""
        self._journal.note("end", 0, {"commit": self._machine.commit})
        self._journal.close()
        self._histories.close()


def build(recorder: Recorder, toolstack: Party) -> Party:
    """A running guest with its pools."""
    created = recorder.alone(toolstack, CreateDomain(flags=CDF_HVM | CDF_HAP)).value
    assert isinstance(created, Created)
    domid = created.domid
    guest = recorder.party(Caller(domid, created.incarnation))
    recorder.alone(toolstack, MaxMem(domid, pages_to_kib(LIMIT)))
    recorder.alone(toolstack, PopulatePhysmap(domid, ((0, BUILT >> 9),), 9))
    recorder.alone(toolstack, StoreWrite(memory_target_path(domid), str(pages_to_kib(BUILT))))
    recorder.alone(toolstack, UnpauseDomain(domid))
    for flags in POOLS:
        recorder.alone(guest, TmemNewPool(flags))
    return guest


class Choice:
    """What a party asks next. What guests hold is the same on average at any time."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._out: set[tuple[DomId, int]] = set()
        """Slots that a guest holds."""
        self._claimed: set[DomId] = set()

    def of_guest(self, domid: DomId) -> Request:
        """Mostly balloon and tmem."""
        draw = self._random
        what = draw.random()
        if what < 0.4:
            return self._toggled(domid, draw.randrange(SLOTS))
        if what < 0.8:
            return self._tmem(draw.randrange(len(POOLS)), (0, 0, draw.randrange(NAMES)))
        if what < 0.9:
            return CurrentReservation(DOMID_SELF)
        return StoreRead(memory_target_path(domid))

    def _toggled(self, domid: DomId, slot: int) -> Request:
        place = (domid, slot)
        extents = ((BUILT + slot * SLOT, SLOT),)
        if place in self._out:
            self._out.remove(place)
            return DecreaseReservation(DOMID_SELF, extents)
        self._out.add(place)
        return PopulatePhysmap(DOMID_SELF, extents)

    def _tmem(self, pool: int, oid: tuple[int, int, int]) -> Request:
        what = self._random.random()
        if what < 0.3:
            return TmemPutPage(pool, oid, 0, 0, self._random.randrange(1 << 32))
        return TmemGetPage(pool, oid, 0, 0) if what < 0.9 else TmemFlushPage(pool, oid, 0)

    def of_toolstack(self, domids: Sequence[DomId]) -> Request:
        """Claims made and withdrawn, limits moved, questions."""
        draw = self._random
        domid = draw.choice(domids)
        match draw.randrange(5):
            case 0:
                if domid in self._claimed:
                    self._claimed.remove(domid)
                    return ClaimPages(domid, 0)
                self._claimed.add(domid)
                return ClaimPages(domid, LIMIT)
            case 1:
                return MaxMem(domid, pages_to_kib(LIMIT + draw.randrange(SLOTS)))
            case 2:
                return Physinfo()
            case 3:
                return GetDomainInfo(domid)
            case _:
                return StoreWrite(memory_target_path(domid), str(pages_to_kib(LIMIT - draw.randrange(SLOTS))))


def write_steady_run(folder: Path, operations: int, seed: int = 1) -> None:
    """Record so many operations, the population's building included, into an empty folder."""
    recorder = Recorder(folder)
    toolstacks = [recorder.party(Caller(0, 1 + number)) for number in range(TOOLSTACKS)]
    guests = [build(recorder, toolstacks[0]) for _ in range(GUESTS)]
    domids = [guest.caller.domid for guest in guests]
    choice, draw = Choice(seed), random.Random(seed)
    idle = [*toolstacks, *guests]
    waiting: list[tuple[Party, Operation]] = []
    while recorder.operations + len(waiting) < operations or waiting:
        if len(waiting) < UNDER_WAY and recorder.operations + len(waiting) < operations:
            # A toolstack asks as often as ten guests.
            party = idle.pop(draw.randrange(len(idle)) if draw.random() < 0.5 else 0)
            of_toolstack = party.caller.privileged
            request = choice.of_toolstack(domids) if of_toolstack else choice.of_guest(party.caller.domid)
            waiting.append((party, recorder.ask(party, request)))
        place = draw.randrange(len(waiting))
        party, operation = waiting[place]
        if recorder.advance(party, operation):
            del waiting[place]
            idle.append(party)
    recorder.close()
