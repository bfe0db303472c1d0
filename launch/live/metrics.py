"""Prometheus text over HTTP: what observers see, by Prometheus's conventions for names and units."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from hypervisor.public.observation import DomainSnapshot, Snapshot
from hypervisor.public.units import PAGE_SIZE
from launch.errors import UsageError
from launch.live.states import state_letters
from launch.live.watching import Sight, Watcher

LOOPBACK: Final = "127.0.0.1"
Metrics = tuple[int | None, str]
"""Port and address; no port, no metrics."""
PATIENCE_MS: Final = 2000
"""A host that has not answered by then is down (or the whole run is paused)."""


class HostsCollector(Collector):
    """All hosts that run below a folder, looked at anew for every scrape."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand: the registry need not look at a host to know the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every metric of every host. Called by a thread of the server, so it has its own watcher."""
        watcher = Watcher(self._folder, PATIENCE_MS)
        try:
            sights = watcher.look()
        finally:
            watcher.close()
        yield _up(sights)
        seen = [(_labels(one), one.snapshot) for one in sights if one.snapshot is not None]
        yield from _host_metrics(seen)
        yield from _node_metrics(seen)
        yield from _domain_metrics(seen)
        yield from _counted(seen)


_HOST: Final = ("host", "scheme", "repeat")

Labels = tuple[str, ...]
Seen = list[tuple[Labels, Snapshot]]


def _labels(sight: Sight) -> Labels:
    return (sight.access.host, sight.access.scheme, str(sight.access.repeat))


def _up(sights: Iterable[Sight]) -> Metric:
    up = GaugeMetricFamily("claimlab_host_up", "1 when the host answers, 0 when it does not.", labels=_HOST)
    for one in sights:
        up.add_metric(_labels(one), float(one.snapshot is not None))
    return up


_HOST_GAUGES: Final = (
    ("total_pages", "claimlab_host_memory_bytes", "Memory of the host."),
    ("free_pages", "claimlab_host_free_bytes", "Free memory; claims do not lower it."),
    ("outstanding_pages", "claimlab_host_claimed_bytes", "Memory claimed and not yet allocated."),
    ("xen_pages", "claimlab_host_xen_bytes", "Memory of the hypervisor itself."),
    ("tmem_pages", "claimlab_host_tmem_freeable_bytes", "Memory that tmem would give back."),
)


def _host_metrics(seen: Seen) -> Iterator[Metric]:
    for field, name, text in _HOST_GAUGES:
        gauge = GaugeMetricFamily(name, text, labels=_HOST)
        for labels, snapshot in seen:
            gauge.add_metric(labels, getattr(snapshot, field) * PAGE_SIZE)
        yield gauge
    clock = GaugeMetricFamily(
        "claimlab_host_emulated_seconds", "Emulated time since the start.", labels=_HOST
    )
    running = GaugeMetricFamily("claimlab_requests_in_progress", "Requests without a reply.", labels=_HOST)
    for labels, snapshot in seen:
        clock.add_metric(labels, snapshot.seconds)
        running.add_metric(labels, len(snapshot.underway))
    yield from (clock, running)


_NODE_GAUGES: Final = (
    ("total_pages", "claimlab_node_memory_bytes", "Memory of the NUMA node."),
    ("free_pages", "claimlab_node_free_bytes", "Free memory of the NUMA node."),
    ("outstanding_pages", "claimlab_node_claimed_bytes", "Claims on this node alone."),
)


def _node_metrics(seen: Seen) -> Iterator[Metric]:
    for field, name, text in _NODE_GAUGES:
        gauge = GaugeMetricFamily(name, text, labels=(*_HOST, "node"))
        for labels, snapshot in seen:
            for node in snapshot.nodes:
                gauge.add_metric((*labels, str(node.node)), getattr(node, field) * PAGE_SIZE)
        yield gauge


_DOMAIN_GAUGES: Final = (
    ("tot_pages", "claimlab_domain_memory_bytes", "tot_pages: memory the domain has."),
    ("outstanding_pages", "claimlab_domain_claimed_bytes", "Its claim that is not allocated yet."),
    ("shr_pages", "claimlab_domain_shared_bytes", "Memory it sees that is shared copy-on-write."),
    ("xen_pages", "claimlab_domain_overhead_bytes", "Memory Xen spends on it beside its own."),
)
_DOMAIN: Final = (*_HOST, "domain")


def _domain_metrics(seen: Seen) -> Iterator[Metric]:
    for field, name, text in _DOMAIN_GAUGES:
        gauge = GaugeMetricFamily(name, text, labels=_DOMAIN)
        for labels, domain in _domains(seen):
            gauge.add_metric(labels, getattr(domain, field) * PAGE_SIZE)
        yield gauge
    limit = GaugeMetricFamily("claimlab_domain_limit_bytes", "max_pages; dom0 has none.", labels=_DOMAIN)
    told = GaugeMetricFamily("claimlab_domain_info", "Always 1.", labels=(*_DOMAIN, "name", "state"))
    answered = CounterMetricFamily("claimlab_domain_requests", "Requests answered.", labels=_DOMAIN)
    for labels, domain in _domains(seen):
        if domain.domid:
            limit.add_metric(labels, domain.max_pages * PAGE_SIZE)
        told.add_metric((*labels, domain.name, state_letters(domain.flags, domain.is_dying)), 1)
        answered.add_metric(labels, domain.operations)
    yield from (limit, told, answered)


def _domains(seen: Seen) -> Iterator[tuple[Labels, DomainSnapshot]]:
    for labels, snapshot in seen:
        for domain in snapshot.domains:
            yield (*labels, str(domain.domid)), domain


_COUNTERS: Final = (
    ("calls", "claimlab_calls", "Messages with requests taken in."),
    ("requests", "claimlab_hypercalls", "Requests taken in: a multicall is several."),
    ("steps", "claimlab_steps", "Atomic steps done."),
)


def _counted(seen: Seen) -> Iterator[Metric]:
    for field, name, text in _COUNTERS:
        counter = CounterMetricFamily(name, text, labels=_HOST)
        for labels, snapshot in seen:
            counter.add_metric(labels, getattr(snapshot, field))
        yield counter
    by = (*_DOMAIN, "source", "reason")
    times = CounterMetricFamily("claimlab_refused_allocations", "Allocations refused.", labels=by)
    amount = CounterMetricFamily("claimlab_refused_bytes", "Memory of the extents refused.", labels=by)
    growth = CounterMetricFamily("claimlab_growth_bytes", "Added to tot_pages.", labels=(*_HOST, "source"))
    wire = CounterMetricFamily("claimlab_refused_messages", "By the wire.", labels=(*_HOST, "error"))
    for labels, snapshot in seen:
        for one in snapshot.refused:
            to = (*labels, str(one.domid), one.source, one.reason)
            times.add_metric(to, one.times)
            amount.add_metric(to, one.pages * PAGE_SIZE)
        for source, pages in snapshot.growth.items():
            growth.add_metric((*labels, source), pages * PAGE_SIZE)
        for error, count in snapshot.wire_refusals.items():
            wire.add_metric((*labels, error), count)
    yield from (times, amount, growth, wire)


@contextmanager
def metrics_served(folder: Path, port: int | None, address: str) -> Generator[str | None]:
    """Serve the hosts below `folder` while the block runs; gives the URL, None without a port.

    Port 0 takes a free one. UsageError when the address cannot be had.
    """
    if port is None:
        yield None
        return
    registry = CollectorRegistry(auto_describe=False)
    registry.register(HostsCollector(folder))
    try:
        server, thread = start_http_server(port, addr=address, registry=registry)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"--metrics {port}: {address}:{port}: {reason}: choose another port, 0 for any that is free"
        ) from error
    try:
        host, bound = server.server_address[:2]
        shown = f"[{host!s}]" if ":" in str(host) else str(host)
        yield f"http://{shown}:{bound}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
