"""P5's mediation: a guest that wants to grow waits until the toolstack has said yes or no."""

import msgspec

from hypervisor.core.host import Host
from hypervisor.core.steps import MEDIATION, Caller, Emission, Result, Step, Steps, step
from hypervisor.public.counterfactual import AnswerGrowth, GrowthEvent, Mediate
from hypervisor.public.errors import Errno
from hypervisor.public.units import Pages


def ask(host: Host, caller: Caller, pages: Pages) -> int:
    """Tell the mediator; the ticket under which the request waits."""
    mediation = host.mediation
    mediation.last_ticket += 1
    mediation.undecided[mediation.last_ticket] = (caller, pages)
    _tell(host, mediation.last_ticket, caller, pages, finished=False)
    return mediation.last_ticket


def awaiting(following: Step, ticket: int) -> Step:
    """`following`, once the ticket has its answer."""
    return msgspec.structs.replace(following, reads=following.reads | {MEDIATION}, awaits=ticket)


def is_undecided(host: Host, ticket: int) -> bool:
    """True while its request must wait. A domain that dies meanwhile waits for nothing any more."""
    waiting = host.mediation.undecided.get(ticket)
    if waiting is None:
        return False
    domain = host.find(waiting[0].domid)
    return domain is not None and domain.incarnation == waiting[0].incarnation and not domain.is_dying


def take_verdict(host: Host, ticket: int) -> bool:
    """Whether it may go on. The ticket is used up."""
    host.mediation.undecided.pop(ticket, None)
    allowed = ticket in host.mediation.allowed
    host.mediation.allowed.pop(ticket, None)
    return allowed


def tell_finished(host: Host, ticket: int, caller: Caller, pages: Pages) -> None:
    """What was allowed has been taken, all of it or less. Ticket 0: nobody was asked."""
    if ticket:
        _tell(host, ticket, caller, pages, finished=True)


def mediate(host: Host, caller: Caller, request: Mediate) -> Steps:
    """Become the mediator, or stop being it."""
    yield step("mediate", writes=(MEDIATION,))
    mediation = host.mediation
    if mediation.mediator not in (None, caller) and not request.take_over:
        return Result(-Errno.EBUSY)
    mediation.mediator = caller if request.on else None
    for ticket, (waiting, pages) in tuple(mediation.undecided.items()):
        if request.on:
            _tell(host, ticket, waiting, pages, finished=False)
        else:
            del mediation.undecided[ticket]
            mediation.allowed[ticket] = None
    return Result(0)


def answer_growth(host: Host, request: AnswerGrowth) -> Steps:
    """The mediator's word. Any toolstack may give it: they are all the control domain."""
    yield step("answer growth", writes=(MEDIATION,))
    if host.mediation.undecided.pop(request.ticket, None) is None:
        return Result(-Errno.ENOENT)
    if request.allow:
        host.mediation.allowed[request.ticket] = None
    return Result(0)


def _tell(host: Host, ticket: int, caller: Caller, pages: Pages, *, finished: bool) -> None:
    mediator = host.mediation.mediator
    if mediator is not None:
        event = GrowthEvent(ticket, caller.domid, caller.incarnation, pages, finished, host.commit)
        host.emit(Emission(mediator, event))
