"""`--metrics`: what Prometheus scrapes is what the host's own hypercalls say."""

from __future__ import annotations

import re
import signal
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from hypervisor.public.domctl import Created, CreateDomain, MaxMem, PhysicalInfo, Physinfo
from hypervisor.public.memory import ClaimPages, PopulatePhysmap
from hypervisor.public.world import World
from launch.cluster.control import Control
from launch.live.access import ACCESS
from tests.launch.cluster_runs import PATIENCE, SMALL, begin, claimlab, write_scenario
from tests.launch.served import serving

UNITS = ("_bytes", "_seconds", "_info", "_up", "_in_progress")


def scraped(url: str) -> dict[str, Metric]:
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        text = answer.read().decode()
    return {one.name: one for one in text_string_to_metric_families(text)}


def value(metrics: dict[str, Metric], name: str, **labels: str) -> float:
    """The one sample of that name (a counter's sample ends in _total) with these labels."""
    found = [
        sample.value
        for sample in metrics[name.removesuffix("_total")].samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert len(found) == 1, (name, labels, metrics[name.removesuffix("_total")].samples)
    return found[0]


async def _use(world: World) -> tuple[PhysicalInfo, int]:
    """A domain with a claim that has met its limit, and what physinfo then says."""
    created = (await world.hypercall(CreateDomain())).value
    assert isinstance(created, Created)
    await world.hypercall(MaxMem(created.domid, 4 * 100))
    assert (await world.hypercall(PopulatePhysmap(created.domid, ((0, 200),)))).ret == 100
    await world.hypercall(MaxMem(created.domid, 4 * 1000))
    assert (await world.hypercall(ClaimPages(created.domid, 800))).ret == 0
    told = (await world.hypercall(Physinfo())).value
    assert isinstance(told, PhysicalInfo)
    return told, created.domid


def test_a_scrape_of_a_served_host() -> None:
    """Bytes, counters and labels agree with physinfo and with what was asked; names follow the rules."""
    with serving("--metrics", 0) as (folder, told):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/metrics", told["metrics"])
        secret = bytes.fromhex(Path(told["control_secret_file"]).read_text())
        host, domid = Control(told["toolstacks"], secret).run(_use, lambda: False)
        while not value(metrics := scraped(told["metrics"]), "claimlab_host_up"):
            pass  # a hypervisor that has no time to answer is not up
        assert (folder / ACCESS).stat().st_mode & 0o777 == 0o600
        assert value(metrics, "claimlab_host_up") == 1
        assert value(metrics, "claimlab_host_memory_bytes") == 4096 * host.total_pages
        assert value(metrics, "claimlab_host_free_bytes") == 4096 * host.free_pages
        assert value(metrics, "claimlab_host_claimed_bytes") == 4096 * 700
        domain = {"domain": str(domid)}
        assert value(metrics, "claimlab_domain_memory_bytes", **domain) == 4096 * 100
        assert value(metrics, "claimlab_domain_limit_bytes", **domain) == 4096 * 1000
        assert value(metrics, "claimlab_hypercalls_total") == 6
        assert value(metrics, "claimlab_domain_requests_total", domain="0") == 6
        assert value(metrics, "claimlab_growth_bytes_total", source="build") == 4096 * 100
        refused = {**domain, "reason": "max_pages", "source": "build"}
        assert value(metrics, "claimlab_refused_allocations_total", **refused) == 1
        for name, metric in metrics.items():
            assert re.fullmatch(r"claimlab_[a-z_]+", name) and metric.documentation
            assert metric.type in ("gauge", "counter")
            assert metric.type == "counter" or name.endswith(UNITS), name
            assert all(
                sample.name.endswith("_total") for sample in metric.samples if metric.type == "counter"
            )
    assert not (folder / ACCESS).exists()


def test_a_scrape_of_a_run(tmp_path: Path) -> None:
    """While a run goes on its host's figures can be had, labelled with the scheme; then nothing is left."""
    path = write_scenario(tmp_path)
    for_ever = ("--set", "duration=100000")
    running = begin("run", path, "--scheme", "claim", "--out", tmp_path / "run", "--metrics", 0, *for_ever)
    assert running.stderr is not None
    url = running.stderr.readline().removeprefix("metrics: ").strip()
    metrics = scraped(url)
    while not metrics["claimlab_domain_info"].samples:
        metrics = scraped(url)
    assert list((tmp_path / "run").rglob(ACCESS))
    labels = {"host": "host0", "scheme": "claim", "repeat": "1"}
    running.send_signal(signal.SIGINT)
    output, errors = running.communicate(timeout=PATIENCE)
    assert running.returncode == 128 + signal.SIGINT, output + errors
    assert value(metrics, "claimlab_host_memory_bytes", **labels) == 1 << 30
    assert not list((tmp_path / "run").rglob(ACCESS))


@pytest.mark.parametrize("command", ["run", "serve"])
def test_a_port_that_is_taken(tmp_path: Path, command: str) -> None:
    """One line with the cure, exit code 2, and no folder left behind."""
    with serving("--metrics", 0) as (_, told):
        port = told["metrics"].rpartition(":")[2].removesuffix("/metrics")
        out = ["--out", tmp_path / "run"] if command == "run" else []
        done = claimlab(command, write_scenario(tmp_path, SMALL), "--metrics", port, *out)
    assert done.returncode == 2
    assert "choose another port" in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    assert not (tmp_path / "run").exists()
