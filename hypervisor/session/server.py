"""The hypervisor's half of the exchange, without I/O: who speaks, may it, has this been run before.

A frame goes into `receive`; a Call to be run comes out, or None. Frames to send gather in `outbox`,
journal notes in `notes`. Nothing a peer sends raises: it is answered with a `Refused` and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from hypervisor.public.domctl import Created
from hypervisor.public.errors import WireError
from hypervisor.public.protocol import (
    MAX_MESSAGE_BYTES,
    MAX_MULTICALL,
    TO_HYPERVISOR,
    Answer,
    Call,
    Goodbye,
    Hello,
    Listen,
    Notify,
    Ping,
    Pong,
    Refused,
    ToHypervisor,
    Welcome,
    encode,
)
from hypervisor.public.requests import Event, Reply, Request
from hypervisor.public.units import DOMID_DOM0, DomId
from hypervisor.session.abuse import Abuse
from hypervisor.session.admission import Admission, Fault, unknown
from hypervisor.session.leases import Leases, silence
from hypervisor.session.speakers import (
    Key,
    Note,
    Peer,
    Role,
    RunningCall,
    Speaker,
    peer_fields,
)
from hypervisor.session.unread import LONG, Arrived, Waiting, call_head

Send = tuple[Role, bytes, bytes, Speaker | None]
"""(socket, routing id, frame, who is to be told to `left` when it has left, if anybody)."""

REFUSAL_CHARS: Final = 200


class ServerSession:
    """See the module. Times are real milliseconds of any monotonic clock."""

    def __init__(
        self,
        *,
        host_key: bytes,
        control_secret: bytes,
        is_alive: Callable[[DomId, int], bool],
        release: str,
        credits: int = 64,
        lease_ms: int = 2000,
        unread_bytes: int = 0,
    ) -> None:
        """`is_alive(domid, incarnation)` tells whether that very domain exists and is not dying.

        `unread_bytes` of answers may wait for one speaker before its Calls do (`unread`). 0 is for who
        does not tell `left`.
        """
        self._admission = Admission(host_key, control_secret, is_alive)
        self._is_alive = is_alive
        self._release = release
        self._credits = credits
        self._lease_ms = lease_ms
        self._remember = 2 * credits
        self._peers: dict[Role, dict[bytes, Peer]] = {Role.GUESTS: {}, Role.TOOLSTACKS: {}}
        self._speakers: dict[Key, Speaker] = {}
        self._incarnations: dict[DomId, list[Key]] = {}  # the keys of `_speakers` by domid
        self._closing = False
        self._leases = Leases(lease_ms)
        self.waiting = Waiting(unread_bytes)
        """Calls of those who do not read."""
        self._most_unread = self.waiting.most_unread
        self.abuse = Abuse()
        self.outbox: list[Send] = []
        self.notes: list[Note] = []
        self.received = 0
        """Frames received."""
        self.refusals: dict[str, int] = {error.value: 0 for error in WireError}
        """Refused messages by `WireError` value."""
        self.repeated = 0
        """Calls received again and not run again."""

    # ---- frames in

    def receive(self, role: Role, routing: bytes, frame: bytes | None, now: int) -> RunningCall | None:
        """Take one frame; gives the Call to begin, if it was one. A frame of several parts is None."""
        self.received += 1
        if self.abuse.muted and (role, routing) in self.abuse.muted:
            return None
        peer = self._peers[role].get(routing)
        if peer is not None:
            peer.heard = now
            if peer.silent:
                self.notes.append(silence(peer, False, now))
        if frame is None:
            self._refuse(role, routing, -1, -1, -1, (WireError.MALFORMED, "one frame per message"))
            return None
        if len(frame) > MAX_MESSAGE_BYTES:
            self._refuse(role, routing, -1, -1, -1, (WireError.OVERSIZED, f"{len(frame)} bytes"))
            return None
        if peer is not None and len(frame) >= LONG and self._waits_unread(peer, frame):
            return None
        try:
            message: ToHypervisor = TO_HYPERVISOR.decode(frame)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            named = call_head(frame) or (-1, -1, -1)
            self._refuse(role, routing, *named, (WireError.MALFORMED, str(error)), len(frame))
            return None
        if type(message) is Call:
            return self._call(role, routing, peer, message, frame)
        self._other(role, routing, peer, message, now)
        return None

    def _other(self, role: Role, routing: bytes, peer: Peer | None, message: ToHypervisor, now: int) -> None:
        match message:
            case Hello():
                self._hello(role, routing, message, now)
            case Ping():
                self._ping(role, routing, peer, message)
            case Listen():
                self._listen(role, routing, peer, message)
            case Goodbye():
                self._goodbye(role, routing, peer, message, now)
            case Call():
                raise AssertionError("receive() handles Calls itself")

    def _ping(self, role: Role, routing: bytes, peer: Peer | None, ping: Ping) -> None:
        """A stranger's ping is refused, so that a peer whose wire broke unseen says hello again."""
        if peer is None:
            text = "this connection said no hello"
            self._refuse(role, routing, -1, -1, -1, (WireError.UNKNOWN_PEER, text))
        else:
            self.outbox.append((role, routing, encode(Pong(ping.nonce)), None))

    def _refuse(
        self, role: Role, routing: bytes, domid: int, incarnation: int, seq: int, fault: Fault, size: int = 0
    ) -> None:
        error, text = fault
        self.refusals[error.value] += 1
        self.abuse.refused(role, routing, error, size)
        refused = Refused(domid, incarnation, seq, error.value, text[:REFUSAL_CHARS])
        self.outbox.append((role, routing, encode(refused), None))

    # ---- hello and goodbye

    def _hello(self, role: Role, routing: bytes, hello: Hello, now: int) -> None:
        fault = self._admission.fault(role, hello)
        if fault is not None:
            self._refuse(role, routing, hello.domid, hello.incarnation, -1, fault)
            return
        key = (hello.domid, hello.incarnation)
        speaker = self._speakers.get(key) or self._new_speaker(key, hello.name[:REFUSAL_CHARS])
        peer = self._peers[role].setdefault(routing, Peer(role, routing, now))
        if speaker.peer is not peer:
            self._unbind(speaker)
            speaker.peer = peer
            peer.speakers[key] = speaker
        welcome = Welcome(*key, self._release, self._credits, self._lease_ms)
        self.outbox.append((role, routing, encode(welcome), None))
        fields = {"domid": key[0], "incarnation": key[1], "role": role.value, "name": speaker.name}
        self.notes.append(Note("hello", now, fields))

    def _new_speaker(self, key: Key, name: str) -> Speaker:
        speaker = self._speakers[key] = Speaker(key, name)
        self._incarnations.setdefault(key[0], []).append(key)
        return speaker

    def _goodbye(self, role: Role, routing: bytes, peer: Peer | None, goodbye: Goodbye, now: int) -> None:
        key = (goodbye.domid, goodbye.incarnation)
        if peer is None or key not in peer.speakers:
            self._refuse(role, routing, *key, -1, unknown(peer, key))
            return
        self._unbind(peer.speakers[key])
        self.notes.append(Note("goodbye", now, {"domid": key[0], "incarnation": key[1]}))

    def _unbind(self, speaker: Speaker) -> None:
        peer, speaker.peer = speaker.peer, None
        self.waiting.forget_arrived(speaker.key)
        if peer is not None:
            peer.speakers.pop(speaker.key, None)
            if not peer.speakers:
                self._peers[peer.role].pop(peer.routing, None)

    # ---- calls

    def _call(
        self, role: Role, routing: bytes, peer: Peer | None, call: Call, frame: bytes
    ) -> RunningCall | None:
        key = (call.domid, call.incarnation)
        speaker = None if peer is None else peer.speakers.get(key)
        if speaker is None:
            self._refuse(role, routing, *key, call.seq, unknown(peer, key))
            return None
        seq, requests = call.seq, call.requests
        size = len(frame)
        if speaker.unread + speaker.gathered > self._most_unread:
            self._wait(speaker, seq, (role, routing, frame))
            return None
        remembered = speaker.remembered.get(seq)
        if remembered is not None:
            self.repeated += 1
            self.outbox.append((role, routing, remembered, self.waiting.counted(speaker, remembered)))
            return None
        if seq in speaker.in_progress:
            self.repeated += 1
            return None  # its answer is on its way
        fault = self._call_fault(speaker, seq)
        if fault is None and len(requests) > MAX_MULTICALL:
            fault = WireError.MALFORMED, f"{len(requests)} requests in one Call: at most {MAX_MULTICALL}"
        if fault is not None:
            self._refuse(role, routing, *key, seq, fault, size)
            return None
        running = speaker.in_progress[seq] = RunningCall(speaker, key, seq, requests, [])
        if size >= LONG:
            running.asked = size
            speaker.asked += size
        if not requests:
            self._answer(running)
            return None
        return running

    def _waits_unread(self, peer: Peer, frame: bytes) -> bool:
        """Whether it is a long Call that must wait, which its first bytes tell in a tenth of the time."""
        head = call_head(frame)
        speaker = None if head is None else peer.speakers.get(head[:2])
        if head is None or speaker is None or not self.waiting.must_wait(speaker, frame):
            return False
        self._wait(speaker, head[2], (peer.role, peer.routing, frame))
        return True

    def _wait(self, speaker: Speaker, seq: int, arrived: Arrived) -> None:
        """It may not begin before its speaker has read what it has asked for."""
        key, waiting = speaker.key, self.waiting
        if seq in speaker.in_progress or waiting.has(key, seq):
            self.repeated += 1
            return
        fault = None if seq in speaker.remembered else self._call_fault(speaker, seq)
        if fault is None and not waiting.has_room(speaker, arrived[2], self._credits):
            fault = WireError.NO_CREDIT, "too much is unanswered or unread already: wait for an Answer"
        if fault is not None:
            self._refuse(*arrived[:2], *key, seq, fault, len(arrived[2]))
            return
        waiting.add(speaker, seq, arrived)
        self.received -= 1  # it will be received again

    def _call_fault(self, speaker: Speaker, seq: int) -> Fault | None:
        domid, incarnation = speaker.key
        if seq <= speaker.floor:
            return WireError.STALE_SEQUENCE, f"seq {seq} was answered too long ago to be told again"
        if len(speaker.in_progress) >= self._credits:
            return WireError.NO_CREDIT, f"{self._credits} Calls are unanswered already: wait for an Answer"
        if domid != DOMID_DOM0 and not self._is_alive(domid, incarnation):
            return WireError.DOMAIN_GONE, f"domain {domid} is dying or dead"
        if self._closing:
            return WireError.SHUTTING_DOWN, "the hypervisor is stopping"
        return None

    def replied(self, running: RunningCall, reply: Reply) -> Request | None:
        """Note the core's reply to the Call's current request; gives the Call's next request, if any."""
        if type(reply.value) is Created:
            reply = self._admission.with_secret(reply, reply.value)
        replies = running.replies
        replies.append(reply)
        running.speaker.operations += 1
        if len(replies) < len(running.requests) and not running.gone:
            waits = reply.value is not None and self.waiting.gathered(running, reply.value)
            return None if waits else running.requests[len(replies)]
        self._answer(running)
        return None

    def _answer(self, running: RunningCall) -> None:
        if running.gone:
            return
        speaker, seq = running.speaker, running.seq
        domid, incarnation = running.key
        del speaker.in_progress[seq]
        frame = encode(Answer(domid, incarnation, seq, tuple(running.replies)))
        speaker.remember(seq, frame, self._remember)
        peer = speaker.peer
        if running.asked or running.gathered:
            self.waiting.ended(running)
        if peer is not None:
            counted = self.waiting.counted(speaker, frame) if len(frame) >= LONG else None
            self.outbox.append((peer.role, peer.routing, frame, counted))

    # ---- what has been read

    def left(self, speaker: Speaker, size: int) -> None:
        """An answer of `size` bytes that counted has left, or never will."""
        speaker.unread -= size

    # ---- events

    def _listen(self, role: Role, routing: bytes, peer: Peer | None, listen: Listen) -> None:
        key = (listen.domid, listen.incarnation)
        speaker = None if peer is None else peer.speakers.get(key)
        if speaker is None:
            self._refuse(role, routing, *key, -1, unknown(peer, key))
        elif listen.domid != DOMID_DOM0:
            text = "VIRQs go to the control domain only"
            self._refuse(role, routing, *key, -1, (WireError.NOT_PERMITTED, text))
        else:
            speaker.virqs = listen.virqs

    def emit_virq(self, virq: int, event: Event) -> None:
        """Send a VIRQ to everyone who listens for it."""
        for speaker in self._speakers.values():
            if virq in speaker.virqs:
                self._notify(speaker, event)

    def emit(self, key: Key, event: Event) -> None:
        """Send an event to one speaker; nobody hears it when that one has no connection."""
        speaker = self._speakers.get(key)
        if speaker is not None:
            self._notify(speaker, event)

    def _notify(self, speaker: Speaker, event: Event) -> None:
        if speaker.peer is not None:
            frame = encode(Notify(*speaker.key, event))
            self.outbox.append((speaker.peer.role, speaker.peer.routing, frame, None))

    # ---- for observers

    def name_and_operations(self, key: Key) -> tuple[str, int]:
        """What a domain called itself, and how many requests it has had answered; ("", 0) for nobody.

        Many speak for domain 0: it has no name, and their requests are added up.
        """
        if key[0] == DOMID_DOM0:
            return "", sum(one.operations for one in self._speakers.values() if one.key[0] == DOMID_DOM0)
        speaker = self._speakers.get(key)
        return ("", 0) if speaker is None else (speaker.name, speaker.operations)

    # ---- peers and domains that end

    def peer_lost(self, role: Role, routing: bytes, now: int) -> bool:
        """The transport knows no such peer any more. Its speakers may come back over another one.

        False when it spoke for nobody.
        """
        peer = self._peers[role].pop(routing, None)
        if peer is None:
            return False
        for speaker in peer.speakers.values():
            speaker.peer = None
            self.waiting.forget_arrived(speaker.key)
        self.notes.append(Note("lost", now, peer_fields(peer)))
        return True

    def domains_gone(self, now: int, domids: Iterable[DomId] | None = None) -> None:
        """Some domain died: forget the speakers of the dead, telling them so for what is unanswered.

        `domids`: who may have died, where that is known; looking at all takes long where there are thousands.
        """
        looked_at = self._incarnations if domids is None else dict.fromkeys(domids)
        keys = [key for domid in looked_at for key in self._incarnations.get(domid, ())]
        for speaker in [self._speakers[k] for k in keys if k[0] != DOMID_DOM0 and not self._is_alive(*k)]:
            for running in speaker.in_progress.values():
                running.gone = True
                self._refuse_gone(speaker, running)
            self._unbind(speaker)
            self.waiting.forget(speaker.key)
            del self._speakers[speaker.key]
            self._incarnations[speaker.key[0]].remove(speaker.key)
            fields = {"domid": speaker.key[0], "incarnation": speaker.key[1]}
            self.notes.append(Note("domain-gone", now, fields))

    def _refuse_gone(self, speaker: Speaker, running: RunningCall) -> None:
        peer = speaker.peer
        if peer is not None:
            text = f"domain {speaker.key[0]} died before its call had an answer"
            self._refuse(peer.role, peer.routing, *speaker.key, running.seq, (WireError.DOMAIN_GONE, text))

    def check_leases(self, now: int) -> None:
        """Note who fell silent."""
        everybody = [peer for peers in self._peers.values() for peer in peers.values()]
        self.notes += self._leases.check(everybody, now)

    def close(self) -> None:
        """From now on every new Call is refused with SHUTTING_DOWN."""
        self._closing = True
