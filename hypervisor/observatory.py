"""The hypervisor's third socket: observers look at the host, out of band.

It is not polled: it is drained when leases are looked at, every 100 ms, and the host is read only when
somebody has asked. So a step costs the same whether it is watched or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from hypervisor.core.machine import Machine, Operation
from hypervisor.core.observation import (
    observed_domain,
    observed_growth,
    observed_nodes,
    observed_refusals,
    tmem_pages,
)
from hypervisor.core.sources import Refusal
from hypervisor.public.observation import OBSERVERS, Snapshot, UnderwaySnapshot
from hypervisor.public.units import Seconds
from hypervisor.session.observers import answers
from hypervisor.session.server import ServerSession
from hypervisor.session.speakers import RunningCall, observers_secret
from hypervisor.transport import Server

Underway = tuple[Operation, RunningCall]


class Observatory:
    """Answers whoever may look. Without a socket for observers nobody is served."""

    def __init__(
        self,
        machine: Machine,
        session: ServerSession,
        server: Server,
        control_secret: bytes,
        clock: Callable[[], Seconds],
    ) -> None:
        self._machine = machine
        self._session = session
        self._server = server
        self._secret = observers_secret(control_secret)
        self._clock = clock
        self._is_open = OBSERVERS in server.endpoints

    def look(
        self,
        counts: Callable[[], tuple[int, int]],
        refused: Mapping[Refusal, int],
        underway: Iterable[Underway],
    ) -> None:
        """Answer everybody who has asked since the last look. `counts`: calls taken in and steps done."""
        if not self._is_open:
            return
        arrived = self._server.drain(OBSERVERS)
        if not arrived:
            return
        for routing, frame in answers(
            self._secret, arrived, lambda: self._snapshot(*counts(), refused, underway)
        ):
            self._server.send(OBSERVERS, routing, frame)  # one that is gone or full asks again

    def _snapshot(
        self, calls: int, steps: int, refused: Mapping[Refusal, int], underway: Iterable[Underway]
    ) -> Snapshot:
        host, session = self._machine.host, self._session
        domains = [host.domains[domid] for domid in host.domids]
        return Snapshot(
            nonce=0,
            release=host.release.name,
            commit=host.commit,
            seconds=self._clock(),
            total_pages=host.total_pages,
            free_pages=host.heap.total_avail,
            outstanding_pages=host.outstanding_claims,
            xen_pages=host.xen_pages,
            tmem_pages=tmem_pages(host),
            calls=calls,
            requests=self._machine.submitted,
            steps=steps,
            nodes=observed_nodes(host),
            domains=tuple(
                observed_domain(host, one, *session.name_and_operations((one.domid, one.incarnation)))
                for one in domains
            ),
            growth=observed_growth(host),
            refused=observed_refusals(refused),
            wire_refusals={error: count for error, count in session.refusals.items() if count},
            underway=tuple(_underway(one) for one, _ in underway if not one.abandoned),
        )


def _underway(one: Operation) -> UnderwaySnapshot:
    return UnderwaySnapshot(
        operation=one.number,
        domid=one.caller.domid,
        incarnation=one.caller.incarnation,
        request=type(one.request).__name__,
        step="" if one.pending is None else one.pending.name,
        parked=one.parked,
    )
