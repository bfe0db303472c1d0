"""Replays one recording, line by line, on a host that follows its free pages."""

from dataclasses import dataclass

from hypervisor.core.machine import Machine
from hypervisor.core.releases import Release
from hypervisor.public.units import DOMID_DOM0
from launch.conform.calls import Toolstack
from launch.conform.comparison import Mismatch, compare
from launch.conform.contiguity import stopped_for_contiguity
from launch.conform.freeing import PendingFrees
from launch.conform.hosts import CountingHost, FrameHost, RecordedHost
from launch.conform.recording import Line, Recording
from launch.conform.resync import LostTrackError, resync


@dataclass(frozen=True, slots=True)
class Replayed:
    """How one recording went; operations = matched + len(mismatches) + skipped."""

    matched: int
    contig: int
    """Of the matched: lines whose answer was taken from the recording, only contiguity decided."""
    skipped: int
    mismatches: tuple[Mismatch, ...]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often the real frame heap answered as Xen's."""

    agreed: int
    of: int


def replay(recording: Recording, release: Release) -> Replayed:
    """Compare every line, with contiguity told by the recording."""
    told = CountingHost(recording.header, release)
    mismatches = _differences(recording, told)
    skipped = sum(line.sent_nothing for line in recording.lines)
    different = {mismatch.i for mismatch in mismatches}
    return Replayed(
        matched=len(recording.lines) - skipped - len(mismatches),
        contig=sum(stopped_for_contiguity(line) and line.i not in different for line in recording.lines),
        skipped=skipped,
        mismatches=tuple(mismatches),
    )


def replay_on_frames(recording: Recording, release: Release) -> Agreement:
    """Compare every line on the frame heap; after a difference the host is set to the recorded state."""
    differences = _differences(recording, FrameHost(recording.header, release))
    of = sum(not line.sent_nothing for line in recording.lines)
    return Agreement(of - len(differences), of)


def _differences(recording: Recording, recorded: RecordedHost) -> list[Mismatch]:
    toolstack = Toolstack(Machine(recorded.host))
    pending = PendingFrees(recording.header.free_pages)
    found: list[Mismatch] = []
    sent = [line for line in recording.lines if not line.sent_nothing or line.op == "adopt"]
    for position, line in enumerate(sent):
        if line.op == "adopt":
            _adopt(line, toolstack)
            continue
        mismatch = _compare_line(recording, recorded, toolstack, pending, line)
        if mismatch is None:
            continue
        found.append(mismatch)
        try:
            resync(toolstack, line.state)
        except LostTrackError:
            found += [_lost(recording, later) for later in sent[position + 1 :] if later.op != "adopt"]
            break
    return found


def _compare_line(
    recording: Recording, recorded: RecordedHost, toolstack: Toolstack, pending: PendingFrees, line: Line
) -> Mismatch | None:
    recorded.prepare(line)
    heap = recorded.host.heap
    pending.before(line)
    before = heap.total_avail
    answer = toolstack.perform(line)
    change = heap.total_avail - before
    same = pending.after(line, change)
    return compare(recording.name, line, answer, toolstack, None if same else line.free_before + change)


def _adopt(line: Line, toolstack: Toolstack) -> None:
    """A script may name dom0; its limits are then as the host was booted with."""
    domain = line.state.doms.get(line.dom)
    if line.op == "adopt" and domain is not None and domain.domid == DOMID_DOM0:
        toolstack.machine.host.domains[DOMID_DOM0].max_pages = domain.max


def _lost(recording: Recording, line: Line) -> Mismatch:
    why = "not compared: an earlier line left other domains than the recording has"
    return Mismatch(recording.name, line.i, line.src, why, {}, {})
