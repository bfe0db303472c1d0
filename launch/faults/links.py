"""A scenario's [links] as what each party's link is told."""

from __future__ import annotations

from typing import Final

from hypervisor.public.units import Seconds
from hypervisor.session.bad_link import BadLinkSpec
from launch.faults.rules import canonical
from launch.scenario.disturbances import LinksTable
from launch.scenario.models import Scenario

REAL_PATIENCE: Final = 0.25
"""Real seconds that a hypercall of real processes may take before it counts as lost."""
LEAST_PATIENCE: Final[Seconds] = 0.01


def is_plain(links: LinksTable) -> bool:
    """True when links do nothing but take their time, everybody's the same."""
    return not (links.jitter or links.loss or links.duplicate or links.reorder or links.parties)


def real_link(scenario: Scenario, repeat: int, party: str) -> BadLinkSpec | None:
    """What is laid over a process's real link; None: nothing."""
    links = scenario.links
    if (is_plain(links) and not links.delay) or not _concerns(links, party):
        return None
    return _spec(scenario, repeat, party, links.delay or 0.0, REAL_PATIENCE * scenario.speed)


def virtual_link(scenario: Scenario, repeat: int, party: str, usual: Seconds) -> BadLinkSpec | None:
    """A virtual link that is more than a delay; None: it is none. `usual`: delay where none is given."""
    links = scenario.links
    if is_plain(links) or not _concerns(links, party):
        return None
    return _spec(scenario, repeat, party, usual if links.delay is None else links.delay, LEAST_PATIENCE)


def _concerns(links: LinksTable, party: str) -> bool:
    return not links.parties or party in {canonical(one) for one in links.parties}


def _spec(scenario: Scenario, repeat: int, party: str, delay: Seconds, patience: Seconds) -> BadLinkSpec:
    links = scenario.links
    return BadLinkSpec(
        seed=f"claimlab/{scenario.seed}/{repeat}/link {party}",
        delay=delay,
        jitter=links.jitter,
        loss=links.loss,
        duplicate=links.duplicate,
        reorder=links.reorder,
        resend=patience + 8 * (delay + links.jitter),
    )


def link_notes(links: LinksTable, repeated: int) -> list[str]:
    """What bad links came to, for the summary. `repeated`: Calls that reached the hypervisor again."""
    shares = {"lost": links.loss, "duplicated": links.duplicate, "reordered": links.reorder}
    told = ", ".join(f"{share:.1%} {name}" for name, share in shares.items() if share)
    return [f"links: {told}; {repeated} Calls came again and were not run twice"] if told else []
