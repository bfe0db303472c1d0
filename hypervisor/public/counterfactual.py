"""Requests that no Xen has: each is one counterfactual of the debate, so that it can be tried and measured.

None of them is used unless a scheme asks for it, and none changes what any other request answers before it
has been asked for. They are numbered above Xen's own domctls. Control domain only, anyone else gets EPERM.
"""

from msgspec import Struct

from hypervisor.public.domctl import DOMCTL
from hypervisor.public.units import U16, U64


class MaxMemBatch(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=DOMCTL | 0xF0):
    """Hypothesis H4, not in Xen: many XEN_DOMCTL_max_mem and a reading of all domains in ONE step.

    What Campbell's "immediately check" would be at its very best. A domain that does not exist is passed
    over. Answers the number of domains read; the value is `DomainInfoList`, all but the control domain.
    """

    limits: tuple[tuple[U16, U64], ...]  # in: (domid, max_memkb in KiB)


Counterfactual = MaxMemBatch
