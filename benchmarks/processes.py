"""Starting guests: how long until all are registered, and what each costs in private memory."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import zmq

from benchmarks.bare import bare_process
from benchmarks.figures import Figure, Pair, Plan
from benchmarks.hosts import GUEST_PAGES, Identity, Served, context, end, served
from guests.config import ConstantSpec, GuestConfig
from guests.process import GuestProcess, guests_process
from hypervisor.edge import SharedEpoch
from hypervisor.public.xenstore import StoreRead, feature_balloon_path
from hypervisor.transport import set_common
from launch.cluster.crew import Crew
from launch.cluster.crowd import patience, report_every
from launch.cluster.population import POLL_SECONDS

BACKLOG = 4096
MOST_PROCESSES = 3000
"""Guests that a row starts in all its rounds: three rounds of 1,000."""


def raise_limits() -> None:
    """As many open files as the system lets us have: two and a half a process are needed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def started(target: Callable[[Any], None], arguments: list[Any]) -> Generator[list[Any]]:
    """A process for each argument; the context ends them."""
    processes: list[Any] = []
    try:
        for argument in arguments:
            processes.append(context.Process(target=target, args=(argument,), daemon=True))
            processes[-1].start()
        yield processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            end(process)


def bare_start(number: int) -> tuple[float, float]:
    """(seconds until so many bare processes have said their word, private KiB of the median one)."""
    with tempfile.TemporaryDirectory(prefix="claimlab-bare-") as name:
        endpoint = f"ipc://{Path(name) / 'bare.sock'}"
        with zmq.Context() as zmq_context, zmq_context.socket(zmq.ROUTER) as socket:
            set_common(socket)
            socket.setsockopt(zmq.BACKLOG, BACKLOG)
            socket.bind(endpoint)
            begun = time.monotonic()
            with started(bare_process, [endpoint] * number) as processes:
                for _ in range(number):
                    socket.recv()
                    socket.recv()
                return time.monotonic() - begun, private_kib(processes)


def guest_process(
    endpoint: str, identity: Identity, number: int, folder: Path, epoch: SharedEpoch
) -> GuestProcess:
    """One of `number` guests with a constant demand that it already has, told what a run tells its guests."""
    config = GuestConfig(
        domid=identity.domid,
        incarnation=identity.incarnation,
        secret=identity.secret,
        static_max=GUEST_PAGES,
        frames=((0, GUEST_PAGES),),
        workload=ConstantSpec(GUEST_PAGES // 2),
        self_sizing=False,
    )
    return GuestProcess(
        endpoint=endpoint,
        speed=1.0,
        epoch_ns=epoch,
        guests=(config,),
        reports=folder,
        report_every=report_every(number),
        patience=patience(number),
        history=folder / f"{config.name}.history",
    )


def guests_start(host: Served) -> tuple[float, float]:
    """(seconds until every guest's balloon driver has said so, private KiB of the median process).

    They are started as a run starts them, and emulated time has not begun, as in a run that comes up.
    """
    number = len(host.identities)
    with (
        tempfile.TemporaryDirectory(prefix="claimlab-reports-") as name,
        Crew(Path(name), _no_record) as crew,
    ):
        epoch = crew.shared_epoch()
        begun = time.monotonic()
        for one in host.identities:
            told = guest_process(host.guests, one, number, Path(name), epoch)
            crew.start(told.guests[0].name, guests_process, told)
        for one in host.identities:
            while host.control.ask(StoreRead(feature_balloon_path(one.domid))).ret:
                time.sleep(POLL_SECONDS)
        return time.monotonic() - begun, private_kib([member.process for member in crew.members])


def _no_record(_role: str, _pid: int) -> None:
    """Nobody has to find them after a kill."""


def private_kib(processes: list[Any]) -> float:
    """Memory that the median process shares with nobody."""
    return median(private_of(process.pid) for process in processes)


def private_of(pid: int) -> int:
    """Private_Clean and Private_Dirty, KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def measure(plan: Plan, number: int) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    """Guests and bare processes in turns."""
    raise_limits()
    # 20 ms of processor time for a guest and its bare process: few rounds, whose ratio is steady for so many
    for _ in range(min(plan.rounds, max(1, MOST_PROCESSES // number))):
        with served(number, recording=False) as host:
            ours = guests_start(host)
        yield ours, bare_start(number)


def starts(number: int) -> Callable[[Plan], Iterator[Pair]]:
    """Processes a second until all are registered."""

    def run(plan: Plan) -> Iterator[Pair]:
        count = int(plan.scaled(number, 4))
        for (seconds, _), (bare_seconds, _) in measure(plan, count):
            yield count / seconds, count / bare_seconds

    return run


def memory(plan: Plan) -> Iterator[Pair]:
    """Private KiB of a guest's process and of a bare one."""
    for (_, kib), (_, bare_kib) in measure(plan, int(plan.scaled(50, 4))):
        yield kib, bare_kib


ANCHOR = "bare multiprocess processes that only connect a socket"
FIGURES = (
    *(
        Figure(
            f"start-{number}",
            f"starting {number} guests until all are registered",
            ANCHOR,
            "processes/s",
            0.8,
            starts(number),
        )
        for number in (100, 300, 1000)
    ),
    Figure("memory", "private memory of a guest's process", ANCHOR, "KiB", 1.3, memory, at_most=True),
)
