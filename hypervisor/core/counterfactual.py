"""What no Xen does, for the debate's what-ifs: reached only by the requests of public/counterfactual.py."""

from typing import assert_never

from hypervisor.core.host import Host
from hypervisor.core.information import domain_info
from hypervisor.core.limits import stored_max_pages
from hypervisor.core.mediation import answer_growth, mediate
from hypervisor.core.reservation_ring import read_reservations, watch_reservations
from hypervisor.core.steps import (
    DOMAINS,
    DOMCTL_LOCK,
    EVERYBODY,
    Caller,
    Result,
    Steps,
    domain_resource,
    step,
)
from hypervisor.public.counterfactual import (
    AnswerGrowth,
    Counterfactual,
    MaxMemBatch,
    Mediate,
    ReadReservations,
    WatchReservations,
)
from hypervisor.public.domctl import DomainInfoList
from hypervisor.public.errors import Errno
from hypervisor.public.units import DOMID_DOM0


def counterfactual(host: Host, caller: Caller, request: Counterfactual) -> Steps:
    """The function that carries it out; EPERM for anybody but the control domain."""
    if not caller.privileged:
        return _denied()
    match request:
        case MaxMemBatch():
            return max_mem_batch(host, request)
        case WatchReservations():
            return watch_reservations(host, caller, request)
        case ReadReservations():
            return read_reservations(host, caller, request)
        case Mediate():
            return mediate(host, caller, request)
        case AnswerGrowth():
            return answer_growth(host, request)
        case _:
            assert_never(request)


def _denied() -> Steps:
    yield step("deny")
    return Result(-Errno.EPERM)


def max_mem_batch(host: Host, request: MaxMemBatch) -> Steps:
    """H4: every limit set and every domain read with nobody in between, under the domctl lock.

    The step bears the name of the one domctl it stands for: nothing else may change max_pages (I4).
    """
    named = tuple(domain_resource(domid) for domid, _ in request.limits)
    everybody = tuple(domain_resource(domid) for domid in host.domids)
    yield step("max_mem", reads=(DOMAINS, EVERYBODY, *everybody), writes=named, lock=DOMCTL_LOCK)
    for domid, max_memkb in request.limits:
        domain = host.find(domid)
        if domain is not None:
            domain.max_pages = stored_max_pages(host, max_memkb)
    found = tuple(domain_info(host, host.domains[domid]) for domid in host.domids if domid != DOMID_DOM0)
    return Result(len(found), DomainInfoList(found))
