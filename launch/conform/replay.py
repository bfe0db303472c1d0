"""Replays one recording, line by line, on a host that follows its free pages."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from hypervisor.core.machine import Machine
from hypervisor.core.releases import Release
from hypervisor.core.tmem.content import Client
from hypervisor.public.units import DOMID_DOM0
from launch.conform.calls import Toolstack
from launch.conform.comparison import Mismatch, compare
from launch.conform.contiguity import stopped_for_contiguity
from launch.conform.freeing import PendingFrees
from launch.conform.hosts import CountingHost, FrameHost, RecordedHost
from launch.conform.recording import Line, Recording
from launch.conform.resync import LostTrackError, resync
from launch.conform.tmem_costs import XenCosts

NOT_EMULATED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "t91-get-bad-frame": "a get into a bad frame makes Xen lose the page and count it until eviction",
        "t92-shared-slots": "a shared pool refused for lack of a slot leaves a stale pointer in Xen",
    }
)
"""Scripts that met faults of Xen which the core does not repeat, and which."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """How one recording went; operations = matched + mismatches + not_emulated + skipped."""

    matched: int
    contig: int
    """Of the matched: lines whose answer was taken from the recording, only contiguity decided."""
    skipped: int
    mismatches: tuple[Mismatch, ...]
    not_emulated: tuple[Mismatch, ...] = ()
    """Differences in a script of `NOT_EMULATED`."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often the real frame heap answered as Xen's."""

    agreed: int
    of: int


def replay(recording: Recording, release: Release) -> Replayed:
    """Compare every line, with contiguity told by the recording."""
    told = CountingHost(recording.header, release)
    differences = tuple(_differences(recording, told))
    excused = recording.header.script.removesuffix(".txt") in NOT_EMULATED
    skipped = sum(line.sent_nothing for line in recording.lines)
    different = {mismatch.i for mismatch in differences}
    return Replayed(
        matched=len(recording.lines) - skipped - len(differences),
        contig=sum(stopped_for_contiguity(line) and line.i not in different for line in recording.lines),
        skipped=skipped,
        mismatches=() if excused else differences,
        not_emulated=differences if excused else (),
    )


def replay_on_frames(recording: Recording, release: Release) -> Agreement:
    """Compare every line on the frame heap; after a difference the host is set to the recorded state."""
    differences = _differences(recording, FrameHost(recording.header, release))
    of = sum(not line.sent_nothing for line in recording.lines)
    return Agreement(of - len(differences), of)


def _differences(recording: Recording, recorded: RecordedHost) -> list[Mismatch]:
    toolstack = Toolstack(Machine(recorded.host))
    if recorded.host.tmem is not None and not _freshly_booted(recording):
        recorded.host.tmem.clients[DOMID_DOM0] = Client(DOMID_DOM0, compress=False)
    pending = PendingFrees(recording.header.free_pages)
    costs = XenCosts(recording.header.state)
    found: list[Mismatch] = []
    sent = [line for line in recording.lines if not line.sent_nothing or line.op == "adopt"]
    for position, line in enumerate(sent):
        if line.op == "adopt":
            _adopt(line, toolstack)
            continue
        mismatch = _compare_line(recording, recorded, toolstack, pending, costs, line)
        if mismatch is None:
            continue
        found.append(mismatch)
        try:
            resync(toolstack, line.state)
        except LostTrackError:
            found += [_lost(recording, later) for later in sent[position + 1 :] if later.op != "adopt"]
            break
    return found


def _freshly_booted(recording: Recording) -> bool:
    """False when other scripts ran before on the same host: dom0 became a client of tmem in the first one."""
    return all(line.op == "create" and line.domid == 1 for line in recording.lines[:1])


def _compare_line(
    recording: Recording,
    recorded: RecordedHost,
    toolstack: Toolstack,
    pending: PendingFrees,
    costs: XenCosts,
    line: Line,
) -> Mismatch | None:
    recorded.prepare(line)
    heap = recorded.host.heap
    pending.before(line)
    before = heap.total_avail
    sums = costs.before(recorded.host, line)
    answer = toolstack.perform(line)
    change = heap.total_avail - before
    same = pending.after(line, change, costs.after(recorded.host, line, sums))
    return compare(recording.name, line, answer, toolstack, None if same else line.free_before + change)


def _adopt(line: Line, toolstack: Toolstack) -> None:
    """A script may name dom0; its limits are then as the host was booted with."""
    domain = line.state.doms.get(line.dom)
    if line.op == "adopt" and domain is not None and domain.domid == DOMID_DOM0:
        toolstack.machine.host.domains[DOMID_DOM0].max_pages = domain.max


def _lost(recording: Recording, line: Line) -> Mismatch:
    why = "not compared: an earlier line left other domains than the recording has"
    return Mismatch(recording.name, line.i, line.src, why, {}, {})
