"""domain_crash: a domain stops for good and waits to be destroyed (S10, A30)."""

from hypervisor.core.domain import Domain
from hypervisor.core.host import Host
from hypervisor.core.steps import Emission, Part, step
from hypervisor.public.requests import VirqEvent
from hypervisor.public.units import VIRQ_DOM_EXC


def domain_crash(host: Host, domain: Domain) -> None:
    """Its vcpus never run again; the toolstack is told (XEN_DOMINF_shutdown, SHUTDOWN_crash)."""
    if not domain.is_shut_down:
        domain.is_shut_down = True
        host.crashed += 1
        host.emit(Emission(None, VirqEvent(VIRQ_DOM_EXC, domain.domid, host.commit)))


def never_return() -> Part[None]:
    """The vcpu that crashed its domain: its request has no end."""
    yield step("crashed", sleeps=True)
    raise AssertionError("a vcpu of a crashed domain ran")
