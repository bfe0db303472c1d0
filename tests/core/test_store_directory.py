"""What a listing of xenstore may hold."""

from __future__ import annotations

from hypervisor.core.host import HostConfig, new_host
from hypervisor.core.machine import Machine, run_alone
from hypervisor.core.releases import release
from hypervisor.core.steps import Caller
from hypervisor.public.domctl import Created, CreateDomain, UnpauseDomain
from hypervisor.public.errors import Errno
from hypervisor.public.xenstore import StoreDirectory, StoreWrite

CONTROL = Caller(0, 1)


def test_a_guests_listing_is_no_longer_than_a_message() -> None:
    """Beyond 4096 bytes a guest gets E2BIG, and the control domain, which asks for parts, its answer."""
    machine = Machine(new_host(HostConfig((1 << 14,), dom0_pages=1024, xen_pages=1024), release("4.17")))
    created = run_alone(machine, CONTROL, CreateDomain(flags=0)).value
    assert isinstance(created, Created)
    run_alone(machine, CONTROL, UnpauseDomain(created.domid))
    guest, path = Caller(created.domid, created.incarnation), f"/local/domain/{created.domid}/data"
    for number in range(4):
        run_alone(machine, CONTROL, StoreWrite(f"{path}/{number}{'x' * 900}", ""))
    assert run_alone(machine, guest, StoreDirectory(path)).ret == 0
    run_alone(machine, CONTROL, StoreWrite(f"{path}/5{'x' * 900}", ""))
    assert run_alone(machine, guest, StoreDirectory(path)).ret == -Errno.E2BIG
    assert run_alone(machine, CONTROL, StoreDirectory(path)).ret == 0
