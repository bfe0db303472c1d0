"""A scenario's [host] as the hypervisor wants it."""

from __future__ import annotations

from hypervisor.core.host import HostConfig
from hypervisor.public.units import Pages
from launch.scenario.models import HostTable


def host_config(table: HostTable) -> HostConfig:
    """The host that a scenario's [host] describes."""
    nodes = table.nodes if isinstance(table.nodes, tuple) else _alike(table.memory, table.nodes)
    return HostConfig(nodes, table.dom0, table.xen, table.low_mem_virq, tmem=table.tmem)


def _alike(memory: Pages, nodes: int) -> tuple[Pages, ...]:
    share, rest = divmod(memory, nodes)
    return tuple(share + (index < rest) for index in range(nodes))
