"""Nodes: which of them serve a domain, which stand behind its virtual ones, what they hold (A3, A7, A18)."""

from typing import Final

from hypervisor.core.domain import Domain
from hypervisor.core.host import Host
from hypervisor.core.steps import (
    CLAIMS,
    DOMAINS,
    DOMCTL_LOCK,
    HEAP,
    SYSCTL_LOCK,
    Caller,
    Result,
    Step,
    Steps,
    domain_resource,
    step,
)
from hypervisor.public.errors import Errno
from hypervisor.public.numa import (
    MAX_NUMNODES,
    NO_VNUMA_NODE,
    Numainfo,
    NumaNode,
    NumaNodes,
    SetNodeAffinity,
    SetVnumaInfo,
)
from hypervisor.public.units import DomId, NodeId

_ALL_NODES: Final = (1 << MAX_NUMNODES) - 1


def set_node_affinity(host: Host, caller: Caller, request: SetNodeAffinity) -> Steps:
    """domain_set_node_affinity: where the next extents come from; none moves (A18, A21)."""
    yield _domctl_step("setnodeaffinity", caller, request.domid)
    domain = host.find(request.domid)
    if domain is None or not caller.privileged:
        return Result(_refusal(domain))
    online = tuple(range(host.heap.node_count))
    wanted = tuple(node for node in online if request.nodemap >> node & 1)
    if not wanted:
        return Result(-Errno.EINVAL)  # disjoint with the system
    domain.node_affinity = online if request.nodemap & _ALL_NODES == _ALL_NODES else wanted
    return Result(0)


def set_vnuma_info(host: Host, caller: Caller, request: SetVnumaInfo) -> Steps:
    """XEN_DOMCTL_setvnumainfo: what a populate with the vnode flag means by a node (A3)."""
    yield _domctl_step("setvnumainfo", caller, request.domid)
    domain = host.find(request.domid)
    if domain is None or not caller.privileged:
        return Result(_refusal(domain))
    if not host.release.node_flags_need_privilege:
        return Result(-Errno.ENOSYS)
    nodes = request.vnode_to_pnode
    if not nodes or any(node >= MAX_NUMNODES and node != NO_VNUMA_NODE for node in nodes):
        return Result(-Errno.EINVAL)
    domain.vnode_to_pnode = tuple(None if node == NO_VNUMA_NODE else node for node in nodes)
    return Result(0)


def numainfo(host: Host, caller: Caller, _request: Numainfo) -> Steps:
    """XEN_SYSCTL_numainfo, with each node's claims beside its free pages (N8)."""
    yield step("numainfo", reads=(HEAP, CLAIMS), lock=SYSCTL_LOCK if caller.privileged else None)
    if not caller.privileged:
        return Result(-Errno.EPERM)
    return Result(0, NumaNodes(tuple(_node(host, node) for node in range(host.heap.node_count))))


def _node(host: Host, node: NodeId) -> NumaNode:
    return NumaNode(
        memsize=host.heap.node_pages(node),
        memfree=host.heap.node_avail(node),
        claimed=host.node_outstanding_claims.get(node, 0),
    )


def _domctl_step(name: str, caller: Caller, domid: DomId) -> Step:
    lock = DOMCTL_LOCK if caller.privileged else None
    return step(name, reads=(DOMAINS,), writes=(domain_resource(domid),), lock=lock)


def _refusal(domain: Domain | None) -> int:
    return -Errno.ESRCH if domain is None else -Errno.EPERM
