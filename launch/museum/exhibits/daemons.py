"""Bugs of daemons and schedulers that keep books beside the hypervisor's."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from hypervisor.core.releases import RELEASES
from launch.museum.exhibit import Exhibit, NewScheme, Side
from launch.museum.schemes.balancing import BalanceOutsideLock, Qmemman
from launch.museum.schemes.blocking import BlockedUntilStarted, InheritedSocket
from launch.museum.schemes.counting import Counting, NothingAssumed, RejectedCounts
from launch.museum.schemes.reserving import ReservedTwice
from launch.museum.worlds.dom0 import MINIMUM, Dom0Gives
from launch.museum.worlds.launching import (
    BesideGuest,
    OneAfterTheOther,
    OneTooLarge,
    TwoAtOnce,
    TwoThatFit,
)
from toolstack.interface import Scheme
from toolstack.lock import Lock
from toolstack.squeezed import Squeezed

_4_22: Final = RELEASES["4.22"]
_LOCK: Final = MappingProxyType({"dom0_minimum": MINIMUM, "lock_seconds": 1.0})
_SQUEEZED: Final = MappingProxyType({"slush_pages": 0, "emergency_pages": 0})


def _new(kind: type[Scheme], parameters: Mapping[str, Any] = MappingProxyType({})) -> NewScheme:
    return lambda: kind(dict(parameters))


UNLOCKED_REBALANCE: Final = Exhibit(
    name="unlocked-rebalance",
    when="until 2024",
    source="Qubes 9431, qubes-core-admin 2de9eb75, Q9, W4",
    broke="memory freed for a launch is handed to a running guest",
    switch="do_balance() after the lock is released",
    history="Qubes' memory daemon frees memory for a new VM under one lock, but when the list of domains "
    "changed it rebalanced after letting the lock go. What had just been freed was handed to "
    "others, and the VM's build ran out of memory, more often when two were started at once. "
    "Python's own lock hid it for years, until 3.13.",
    on=Side(BesideGuest(), _4_22, _new(BalanceOutsideLock)),
    off=Side(BesideGuest(), _4_22, _new(Qmemman)),
    schedule="a6.a+.a.a+.a2.a+.a2.b3.a",
)
INHERITED_SOCKET: Final = Exhibit(
    name="inherited-socket",
    when="undated",
    source="Qubes 3265",
    broke="after one launch no other is ever served",
    switch="the domain's processes inherit the socket",
    history="Qubes' daemon serves nobody else until the VM has started that memory was freed for, and "
    "learns of that by a socket being closed. A process that inherited the descriptor keeps the "
    "socket open, and the daemon is blocked for ever.",
    on=Side(TwoThatFit(), _4_22, _new(InheritedSocket)),
    off=Side(TwoThatFit(), _4_22, _new(BlockedUntilStarted)),
    schedule="-",
)
SECOND_TOOLSTACK: Final = Exhibit(
    name="second-toolstack",
    when="undated",
    source="Qubes 959, L12, L13",
    broke="dom0 is left with less than it needs",
    switch="a second toolstack with a lock of its own",
    history="A lock serialises the creators of one toolstack and nobody else. libvirt's autoballoon acted "
    "beside the toolstack that ran the host; both took memory from dom0, and dom0 ran out of it. "
    "Each looks first whether dom0 can spare what it lacks, and both are told yes.",
    on=Side(Dom0Gives(toolstacks=2), _4_22, _new(Lock, _LOCK)),
    off=Side(Dom0Gives(toolstacks=1), _4_22, _new(Lock, _LOCK)),
    schedule="a6.b14.a",
    budget=60,
)
RESERVED_TWICE: Final = Exhibit(
    name="reserved-twice",
    when="undated",
    source="CA-173605, W5",
    broke="a launch is refused although its memory is free",
    switch="a reservation that is transferred stays in the books",
    history="squeezed sets memory aside by reservations, which are transferred to the domain that is "
    "built with them. A report tells that they were counted twice, not how; here a transfer "
    "enters the reservation with the domain and forgets to strike it out. Memory that nobody has "
    "and nobody wants is then not to be had.",
    on=Side(OneAfterTheOther(), _4_22, _new(ReservedTwice, _SQUEEZED)),
    off=Side(OneAfterTheOther(), _4_22, _new(Squeezed, _SQUEEZED)),
    schedule="-",
    budget=60,
)
REJECTED_COUNTS: Final = Exhibit(
    name="rejected-counts",
    when="undated",
    source="kubernetes 135296",
    broke="a launch is refused although its memory is free",
    switch="a rejected launch stays in the books",
    history="The same class of bug in another community: a pod that had been rejected still counted, so "
    "that others were rejected which would have fitted.",
    on=Side(OneTooLarge(), _4_22, _new(RejectedCounts)),
    off=Side(OneTooLarge(), _4_22, _new(Counting)),
    schedule="-",
)
NOTHING_ASSUMED: Final = Exhibit(
    name="nothing-assumed",
    when="undated",
    source="kubernetes 76772, nova SchedulerRaceReduction",
    broke="two launches are admitted on the same memory",
    switch="an admitted launch counts only once it has its memory",
    history="Thirty pods of 32 GiB were all bound to one node of 70 GiB; nova's page on scheduler races "
    "tells of 3 GB free and two requests for 2 GB. What is admitted and has not been taken yet "
    "must count.",
    on=Side(TwoAtOnce(), _4_22, _new(NothingAssumed)),
    off=Side(TwoAtOnce(), _4_22, _new(Counting)),
    schedule="-",
)

DAEMONS: Final = (
    UNLOCKED_REBALANCE,
    INHERITED_SOCKET,
    SECOND_TOOLSTACK,
    RESERVED_TWICE,
    REJECTED_COUNTS,
    NOTHING_ASSUMED,
)
