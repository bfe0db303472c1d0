"""What a toolstack must do, one trial after the other. A trial yields a line for every fault it finds."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Final

from hypervisor.public.domctl import DOMINF_PAUSED, DomainInfo, PhysicalInfo, Physinfo
from hypervisor.public.orders import LaunchOrder, Outcome, Stage
from hypervisor.public.units import PAGES_PER_MIB, Commit, Pages, runs_length
from hypervisor.public.world import World
from launch.cluster.control import list_domains
from launch.kit.bystander import harm
from launch.kit.stage import RAM
from launch.kit.stage import Stage as Trial

SMALL: Final[Pages] = 32 * PAGES_PER_MIB
HALF: Final[Pages] = 144 * PAGES_PER_MIB
"""One of this size fits, two do not."""
TOO_LARGE: Final[Pages] = 2 * RAM

FINAL: Final = (Stage.BUILT, Stage.REFUSED, Stage.FAILED)


@dataclass(frozen=True, slots=True)
class Books:
    """The host at one moment."""

    domains: tuple[DomainInfo, ...]
    free: Pages
    outstanding: Pages
    commit: Commit


async def read_books(world: World) -> Books:
    """What is free, claimed and there."""
    domains = await list_domains(world)
    reply = await world.hypercall(Physinfo())
    assert isinstance(reply.value, PhysicalInfo)
    return Books(domains, reply.value.free_pages, reply.value.outstanding_pages, reply.last)


def enlists(trial: Trial) -> Iterator[str]:
    """It enlists with the secret of the access file."""
    trial.until(lambda: bool(trial.heard.enlisted))
    if not trial.heard.enlisted:
        yield "no Enlist arrived: connect a DEALER to orders_endpoint and send it with orders_secret as bytes"


def builds_what_fits(trial: Trial) -> Iterator[str]:
    """A launch that fits is built, runs, and is reported with what its guest needs."""
    order = trial.launch(SMALL)
    last = yield from _settled(trial, order)
    if last is None:
        return
    if last.stage is not Stage.BUILT:
        yield f"order {order.order} for {SMALL} pages on an empty host: {last.stage}, reason {last.reason!r}"
        return
    yield from _built(trial, order, last)
    yield from destroys(trial, order, last)


def refuses_what_cannot_fit(trial: Trial) -> Iterator[str]:
    """A launch larger than the host is refused or fails, and leaves nothing behind."""
    before = trial.ask(read_books)
    order = trial.launch(TOO_LARGE)
    last = yield from _settled(trial, order)
    if last is not None and last.stage is Stage.BUILT:
        yield f"order {order.order} for {TOO_LARGE} pages was reported as built on a host of {RAM}"
    yield from _as_before(trial, before)


def survives_a_race(trial: Trial) -> Iterator[str]:
    """Of two launches at once of which one fits, at most one is built, and the other leaves nothing."""
    before = trial.ask(read_books)
    orders = [trial.launch(HALF), trial.launch(HALF)]
    for order in orders:
        last = yield from _settled(trial, order)
        if last is not None and last.stage is Stage.BUILT:
            yield from _built(trial, order, last)
    built = [one for order in orders for one in _heard(trial, order) if one.stage is Stage.BUILT]
    if len({one.order for one in built}) > 1:
        yield f"both of two launches of {HALF} pages were reported as built on a host of {RAM}"
    for order in orders:
        of_it = [one for one in built if one.order == order.order]
        if of_it:
            yield from destroys(trial, order, of_it[0])
    yield from _as_before(trial, before)


def leaves_in_mid_build(trial: Trial) -> Iterator[str]:
    """Dismissed in mid-build, it undoes that and what it lowered, or lists what it could not, and leaves."""
    trial.launch(HALF)
    trial.dismiss()
    if not trial.until(lambda: bool(trial.heard.farewells)):
        yield "no Farewell after Dismiss: undo what is half-built, send Farewell, and leave"
        return
    farewell = trial.heard.farewells[-1].farewell
    listed = farewell is not None and farewell.leftovers
    trial.until(lambda: trial.ended is not None)
    if trial.ended != 0:
        yield f"after its Farewell it {_ending(trial)}: leave with exit code 0"
    books = trial.ask(read_books)
    built = {one.domid for said in trial.heard.outcomes.values() for one in said if one.stage is Stage.BUILT}
    stranger = trial.bystander
    assert stranger is not None, "there since before the program"
    half = [one.domid for one in books.domains if one.domid not in {*built, stranger.domid}]
    if half and not listed:
        yield f"domain {half[0]} is half-built and no line of Farewell.leftovers says so: destroy it first"
    if books.outstanding and not listed:
        yield f"{books.outstanding} pages stay claimed: cancel claims with claim_pages 0 before leaving"
    found = next((one for one in books.domains if one.domid == stranger.domid), None)
    yield from harm(stranger, found, listed=bool(listed))


def destroys(trial: Trial, order: LaunchOrder, built: Outcome) -> Iterator[str]:
    """A DestroyOrder ends in an outcome `destroyed`, and the domain is gone."""
    trial.destroy(order, built)
    if not trial.until(lambda: any(one.stage is Stage.DESTROYED for one in _heard(trial, order))):
        yield f"order {order.order}: no outcome `destroyed` after a DestroyOrder ({_state(trial)})"
    elif any(domain.domid == built.domid for domain in trial.ask(read_books).domains):
        yield f"domain {built.domid} was reported as destroyed and is still there: call until it answers 0"


def _heard(trial: Trial, order: LaunchOrder) -> list[Outcome]:
    return trial.heard.outcomes.get(order.order, [])


def _settled(trial: Trial, order: LaunchOrder) -> Generator[str, None, Outcome | None]:
    """Wait for the outcome that ends a launch; returns it, or None when there is none."""
    trial.until(lambda: any(one.stage in FINAL for one in _heard(trial, order)))
    stages = [one.stage for one in _heard(trial, order)]
    ends = [one for one in _heard(trial, order) if one.stage in FINAL]
    if not ends:
        said = f"only {', '.join(stages)}" if stages else "no outcome"
        yield f"order {order.order}: {said} within {trial.setting.patience:g} s ({_state(trial)})"
        return None
    yield from _in_order(order, stages)
    yield from _commits(trial, order)
    return ends[0]


def _in_order(order: LaunchOrder, stages: list[Stage]) -> Iterator[str]:
    allowed = ([Stage.ADMITTED, Stage.BUILT], [Stage.ADMITTED, Stage.FAILED], [Stage.REFUSED], [Stage.BUILT])
    if stages not in allowed:
        yield (
            f"order {order.order}: outcomes {', '.join(stages)}: send admitted then built, "
            "admitted then failed, or refused"
        )


def _commits(trial: Trial, order: LaunchOrder) -> Iterator[str]:
    last = trial.ask(read_books).commit
    for one in _heard(trial, order):
        if not 0 <= one.commit <= last:
            yield f"order {order.order}: commit {one.commit} of {one.stage} has not happened (now {last})"
        elif one.commit == 0 and one.stage is not Stage.REFUSED:
            yield f"order {order.order}: {one.stage} names no commit: copy `last` of the reply it rests on"


def _built(trial: Trial, order: LaunchOrder, said: Outcome) -> Iterator[str]:
    name = f"order {order.order}: domain {said.domid}"
    found = [one for one in trial.ask(read_books).domains if one.domid == said.domid]
    if not found:
        yield f"{name} does not exist: copy domid and incarnation from the value of createdomain"
        return
    domain = found[0]
    if domain.incarnation != said.incarnation:
        yield f"{name} has incarnation {domain.incarnation}, not {said.incarnation}: copy it from Created"
    if domain.tot_pages < order.pages:
        yield f"{name} has {domain.tot_pages} of {order.pages} pages: look at the count populate answers"
    if domain.max_pages < order.max_pages:
        yield f"{name} has max_pages {domain.max_pages}: set max_mem to at least {4 * order.max_pages} KiB"
    if domain.outstanding_pages:
        yield f"{name} keeps a claim of {domain.outstanding_pages} pages: cancel it once the domain is built"
    if domain.flags & DOMINF_PAUSED:
        yield f"{name} is still paused: unpause it before reporting it as built"
    elif not trial.may_speak(said):
        yield f"{name}: its secret does not let its guest in: copy `secret` from Created, as bytes"
    if runs_length(said.frames) != order.pages:
        yield f"{name}: frames name {runs_length(said.frames)} pages instead of {order.pages}"


def _as_before(trial: Trial, before: Books) -> Iterator[str]:
    """Nothing that the trial asked for is left on the host."""
    after = trial.ask(read_books)
    known = {domain.domid for domain in before.domains}
    for domain in after.domains:
        if domain.domid not in known:
            yield f"domain {domain.domid} is left over with {domain.tot_pages} pages: destroy it"
    if after.outstanding > before.outstanding:
        yield f"{after.outstanding - before.outstanding} pages stay claimed: cancel claims with claim_pages 0"
    if after.free < before.free and len(after.domains) == len(before.domains):
        yield f"{before.free - after.free} pages are lost to the host"


def _state(trial: Trial) -> str:
    return "it is still running" if trial.ended is None else f"it {_ending(trial)}"


def _ending(trial: Trial) -> str:
    if trial.ended is None:
        return "is still running"
    if trial.ended < 0:
        return f"was ended by signal {-trial.ended}"
    return f"ended with exit code {trial.ended}"


TRIALS: Final[tuple[Callable[[Trial], Iterator[str]], ...]] = (
    enlists,
    builds_what_fits,
    refuses_what_cannot_fit,
    survives_a_race,
    leaves_in_mid_build,
)
"""In the order in which they are held; the last one ends the program."""
