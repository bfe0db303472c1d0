"""`optimistic`: decide on what was read, and find out at the end whether it still holds (P10).

OpenStack's Placement answered the same problem in another community so: every provider has a generation
number; whoever allocates says which generation the decision rests on; if another has decided meanwhile, it
is refused with a conflict (409), and the client reads again and retries.

Here the generation and the builds under way are nodes in xenstore, which has transactions for just this:
EAGAIN when a node read has changed (ledger.py). Nobody waits for a lock; at low contention a decision is one
round of reads, at high contention most of them are for nothing. The number guards builders against builders,
of all toolstacks that keep the ledger. Guests keep none: their growth changes no generation.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from hypervisor.public.errors import Errno
from hypervisor.public.units import Pages
from toolstack.interface import Launch, LaunchRefusedError, Scheme, parse_parameters, read_domains, read_host
from toolstack.ledger import leave_ledger, read_ledger


class OptimisticParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """[scheme.optimistic]."""

    retries: Annotated[int, Meta(ge=0)] = 10
    """Further tries after a conflict; nova moved 10 of them into its server. Range: 0 to 50."""
    backoff_seconds: Annotated[float, Meta(ge=0)] = 0.05
    """Longest emulated wait before a retry, doubled after each; the wait is drawn up to it. Range: 0 to 1."""
    margin_percent: Annotated[int, Meta(ge=0, le=100)] = 0
    """Free memory wanted beyond the launch, percent of it, against guests that grow. Range: 0 to 20."""


class Optimistic(Scheme):
    """A generation number, a conflict, a retry."""

    origin = "P10: OpenStack Placement's generations; another community, the same problem"
    parameters = OptimisticParameters

    def __init__(self, parameters: Any) -> None:
        """See `OptimisticParameters`. Raises `ParametersError`."""
        super().__init__({})
        self._parameters = parse_parameters(parameters, OptimisticParameters)
        self._entered: set[int] = set()
        self._conflicts = 0

    async def admit_at_claim(self, launch: Launch, pages: Pages) -> None:
        """Where libxl claims: Xen's own share of the domain is taken, and there is a domid to enter."""
        backoff = self._parameters.backoff_seconds
        for _ in range(self._parameters.retries + 1):
            if await self._entered_unopposed(launch):
                return
            self._conflicts += 1
            await launch.world.sleep(launch.world.rng.random() * backoff)
            backoff *= 2
        text = f"conflict: others decided {self._parameters.retries + 1} times meanwhile"
        raise LaunchRefusedError(text, launch.world.last_commit)

    async def release(self, launch: Launch) -> None:
        """Strike the entry out."""
        if launch.order.order in self._entered:
            self._entered.remove(launch.order.order)
            await leave_ledger(launch.world, (launch.domid, launch.incarnation))

    def notes(self) -> dict[str, Any]:
        """Decisions made for nothing."""
        return {"conflicts": self._conflicts}

    async def _entered_unopposed(self, launch: Launch) -> bool:
        """One try: False after a conflict. Raises `LaunchRefusedError` when there is no room."""
        launch.look_anew()
        ledger = await read_ledger(launch.world)
        domains, _ = await read_domains(launch.world)
        host, commit = await read_host(launch.world)
        wanted = launch.pages + launch.pages * self._parameters.margin_percent // 100
        wanted += ledger.still_to_take(domains) - launch.populated
        if host.free_pages < wanted:
            raise LaunchRefusedError(f"{host.free_pages} pages free, {wanted} needed", commit)
        key = launch.domid, launch.incarnation
        self._entered.add(launch.order.order)  # on record before, so that whatever fails is struck out
        reply = await launch.world.hypercall(ledger.entering(key, launch.pages, domains))
        return reply.ret != -Errno.EAGAIN
