"""The domains that get curves of their own: launches first, then whoever suffered or moved most."""

from __future__ import annotations

from typing import Final

from guests.report import GuestReport
from launch.cluster.orders import launch_name
from launch.judge.cases import Key, cases
from launch.judge.judge import HostEvidence
from launch.judge.verdict import HostJudgement

LAUNCHES: Final = 8
CHOSEN: Final = 16
"""Domains with curves."""


def chosen_domains(evidence: HostEvidence, judgement: HostJudgement | None) -> dict[Key, str]:
    """Domain and label, in the order of the page."""
    chosen: dict[Key, str] = {}
    built = [case for case in cases(evidence.orders, evidence.outcomes) if case.domain is not None]
    for case in built[:LAUNCHES]:
        assert case.domain is not None
        chosen[case.domain] = f"domain {case.domain[0]} (launch {launch_name(case.number)}: {case.verdict})"
    refused = refused_pages(judgement)
    guests = sorted(evidence.reports, key=lambda one: _weight(one, refused), reverse=True)
    for guest in guests:
        if len(chosen) == CHOSEN:
            break
        key = (guest.domid, guest.incarnation)
        chosen.setdefault(key, f"domain {guest.domid} ({guest.behaviour} guest)")
    return chosen


def refused_pages(judgement: HostJudgement | None) -> dict[Key, int]:
    """By domain; what a guest was refused for any cause."""
    guests = () if judgement is None else judgement.guests
    return {(one.domid, one.incarnation): sum(part.pages for part in one.refused) for one in guests}


def _weight(guest: GuestReport, refused: dict[Key, int]) -> tuple[int, int, int]:
    hurt = refused.get((guest.domid, guest.incarnation), 0) + guest.swapped_out
    return hurt, guest.highest_pages - guest.lowest_pages, -guest.domid
