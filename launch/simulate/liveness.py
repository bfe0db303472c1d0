"""Who can make hypercalls."""

from __future__ import annotations

from hypervisor.core.machine import Machine
from hypervisor.core.steps import Caller
from hypervisor.public.units import DOMID_DOM0


def is_alive(machine: Machine, caller: Caller) -> bool:
    """True when that very domain exists and is not dying, so that it can make hypercalls."""
    if caller.domid == DOMID_DOM0:
        return True
    domain = machine.host.domains.get(caller.domid)
    return domain is not None and domain.incarnation == caller.incarnation and not domain.is_dying
