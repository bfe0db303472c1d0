"""A toolstack as a real process: orders over its own socket, a real hypervisor, kill -9 in mid-build."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from hypervisor.public.domctl import DomainInfo
from hypervisor.public.orders import LaunchOrder, Outcome, Stage
from hypervisor.public.points import NEVER, PartyRules, Wait
from hypervisor.public.units import PAGES_PER_MIB
from hypervisor.transport import Server, ipc_endpoints
from launch.cluster.control import Control, list_domains
from launch.cluster.desk import ROLE, Desk, News
from tests.running_hypervisor import CONTROL, PATIENCE, Running, context, running_hypervisor
from toolstack.interface import Launch, LaunchRefusedError, Scheme
from toolstack.process import ToolstackProcess, toolstack_process

SECRET = b"the orders' secret of tests"
BIG = 64 * PAGES_PER_MIB
HELD, GOES_ON = 1, 2
"""Cells that tell that a toolstack stands still in the middle of a build, and that it went on."""
MID_BUILD = PartyRules(waits=(Wait("chunk-populated", after=0.0, begun=HELD, ended=GOES_ON, until=NEVER),))
"""It waits there for ever, so no build is over before somebody has looked at it."""


class Office:
    """The launcher's side: a desk, one toolstack process, and all that it said."""

    def __init__(
        self, running: Running, server: Server, scheme: str | type[Scheme], stops: PartyRules | None
    ) -> None:
        self.cells = context.RawArray("q", 3)
        self.desk = Desk(server, SECRET)
        self.outcomes: list[Outcome] = []
        self.complaints: list[str] = []
        process = ToolstackProcess(
            name="under test",
            scheme=scheme,
            pages_per_second=BIG / 100,
            endpoint=running.endpoints["toolstacks"],
            control_secret=CONTROL,
            orders_endpoint=server.endpoints[ROLE],
            orders_secret=SECRET,
            speed=50.0,
            epoch_ns=time.monotonic_ns(),
            stops=stops,
            cells=self.cells,
        )
        self.process = context.Process(target=toolstack_process, args=(process,))
        self.process.start()

    def until(self, condition: Callable[[], bool]) -> None:
        """Look at the socket until it holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"still waiting; so far: {self.outcomes} {self.complaints}"
            self._take(self.desk.look(20))

    def _take(self, news: News) -> None:
        self.outcomes += [outcome for _, outcome in news.outcomes]
        self.complaints += news.complaints

    def said(self, order: int, stage: Stage) -> Callable[[], bool]:
        """Whether that word has been said."""
        return lambda: any((one.order, one.stage) == (order, stage) for one in self.outcomes)

    def until_mid_build(self) -> None:
        """Until it stands there, with a part of its pages."""
        self.until(lambda: bool(self.cells[HELD]))

    def farewell(self) -> tuple[str, ...]:
        """Dismiss it and wait for its last word and its end."""
        self.desk.dismiss()
        one = self.desk.staff[0]
        self.until(lambda: one.farewell is not None)
        self.process.join(PATIENCE)
        assert self.process.exitcode == 0
        assert one.farewell is not None
        return one.farewell.leftovers


@contextmanager
def office(running: Running, scheme: str | type[Scheme], stops: PartyRules | None = None) -> Iterator[Office]:
    """An office until the block ends."""
    with (
        tempfile.TemporaryDirectory(prefix="claimlab-") as name,
        closing(Server(ipc_endpoints(Path(name) / "o", (ROLE,)))) as server,
    ):
        one = Office(running, server, scheme, stops)
        try:
            one.until(lambda: bool(one.desk.staff))
            yield one
        finally:
            one.process.kill()
            one.process.join()


def domains(running: Running) -> dict[int, DomainInfo]:
    """The host's domains but dom0, seen by another control connection."""
    control = Control(running.endpoints["toolstacks"], CONTROL)
    return {one.domid: one for one in control.run(list_domains, lambda: False)}


@pytest.mark.parametrize("scheme", ["naive", "claim", "clamp"])
def test_orders_are_served_over_the_third_socket(scheme: str) -> None:
    """Admitted, built with its secret and frames, and a farewell without leftovers."""
    with running_hypervisor() as running, office(running, scheme) as one:
        assert one.desk.launch(LaunchOrder(1, 16 * PAGES_PER_MIB, 16 * PAGES_PER_MIB, "hvm-4.17"))
        one.until(one.said(1, Stage.BUILT))
        admitted, built = one.outcomes
        assert admitted.stage is Stage.ADMITTED
        assert admitted.commit < built.commit
        assert len(built.secret) >= 16
        assert built.frames
        assert domains(running)[built.domid].outstanding_pages == 0
        assert one.farewell() == ()
        assert one.complaints == []


def test_a_dismissal_in_mid_build_leaves_nothing_on_the_host() -> None:
    """Half-built domain and claim are gone when the farewell arrives."""
    with running_hypervisor() as running, office(running, "claim", MID_BUILD) as one:
        one.desk.launch(LaunchOrder(1, BIG, BIG, "pv-4.17"))
        one.until_mid_build()
        (half,) = domains(running).values()
        assert 0 < half.tot_pages < BIG and half.outstanding_pages == BIG - half.tot_pages
        assert one.farewell() == ()
        assert domains(running) == {}


@pytest.mark.rule("C33")
def test_killed_in_mid_build_it_leaves_a_domain_and_its_claim() -> None:
    """kill -9: the hypervisor frees nothing, because Xen does not; domain and claim stay as they were."""
    with running_hypervisor() as running, office(running, "claim", MID_BUILD) as one:
        one.desk.launch(LaunchOrder(1, BIG, BIG, "hvm-4.17"))
        one.until_mid_build()
        assert one.process.pid is not None
        os.kill(one.process.pid, signal.SIGKILL)
        one.process.join(PATIENCE)
        (left,) = domains(running).values()
        assert 0 < left.tot_pages < BIG
        assert left.tot_pages + left.outstanding_pages == BIG - 0x20
        assert running.process.is_alive()


def test_a_class_of_a_notebook_reaches_its_process() -> None:
    """No registration and no import path: a class that lives in a function only travels to its process."""

    class Mine(Scheme):
        async def admit_before_create(self, launch: Launch) -> bool:
            raise LaunchRefusedError(f"{launch.pages} pages are too many", 3)

    with running_hypervisor() as running, office(running, Mine) as one:
        one.desk.launch(LaunchOrder(1, 256, 256, "pv-4.17"))
        one.until(one.said(1, Stage.REFUSED))
        assert one.outcomes[0].reason == "256 pages are too many"


def test_a_scheme_that_does_not_exist_ends_the_process_with_one_line(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2, and the cure on standard error."""
    process = ToolstackProcess(
        name="x",
        scheme="no-such-scheme",
        endpoint="ipc:///nowhere",
        control_secret=b"",
        orders_endpoint="ipc:///nowhere",
        orders_secret=b"",
        speed=1.0,
        epoch_ns=0,
    )
    with pytest.raises(SystemExit) as ending:
        toolstack_process(process)
    assert ending.value.code == 2
    assert capfd.readouterr().err.startswith("no scheme 'no-such-scheme': name one of ")
