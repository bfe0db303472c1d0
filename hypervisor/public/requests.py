"""The closed set of what a peer can ask, and what comes back."""

from msgspec import Struct

from hypervisor.public.access import AccessOp, AccessValue
from hypervisor.public.counterfactual import Counterfactual, CounterfactualEvent, CounterfactualValue
from hypervisor.public.domctl import Domctl, ForeignOp, HypercallValue, Sysctl
from hypervisor.public.memory import MemoryOp
from hypervisor.public.numa import NumaDomctl, Numainfo, NumaValue
from hypervisor.public.offlining import OfflineSysctl, OfflineValue
from hypervisor.public.pod import PodOp, PodValue
from hypervisor.public.sharing import SharingEvent, SharingOp, SharingValue
from hypervisor.public.tmem import TmemControl, TmemOp, TmemValue
from hypervisor.public.units import Commit, DomId
from hypervisor.public.xenstore import StoreOp, StoreValue

Request = (
    MemoryOp
    | Domctl
    | NumaDomctl
    | Sysctl
    | Numainfo
    | OfflineSysctl
    | ForeignOp
    | TmemOp
    | TmemControl
    | SharingOp
    | PodOp
    | AccessOp
    | StoreOp
    | Counterfactual
)
Value = (
    HypercallValue
    | NumaValue
    | OfflineValue
    | TmemValue
    | SharingValue
    | PodValue
    | AccessValue
    | StoreValue
    | CounterfactualValue
)


class Reply(Struct, frozen=True, array_like=True):
    """Answer to one request.

    `ret` is as Xen answers it: a count, 0, or a negative errno. `first` and `last` are the commit
    numbers of the first and last atomic step, so the request took effect inside [first, last].
    """

    ret: int
    first: Commit
    last: Commit
    value: Value | None = None


class VirqEvent(Struct, frozen=True, array_like=True, tag=1):
    """A virtual interrupt for the control domain. `domid` is a courtesy: Xen's VIRQ names nobody."""

    virq: int
    domid: DomId
    commit: Commit


class WatchEvent(Struct, frozen=True, array_like=True, tag=2):
    """A watched xenstore node changed (XS_WATCH_EVENT)."""

    path: str
    token: str
    commit: Commit


Event = VirqEvent | WatchEvent | SharingEvent | CounterfactualEvent
