"""Bugs of those who claim, and of those who only look: libxc, xl, XAPI's builders."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from hypervisor.core.releases import RELEASES
from launch.explore.worlds.claim_race import ClaimRace
from launch.museum.exhibit import Exhibit, Side
from launch.museum.schemes.claiming import EnosysSwallowed, EvenOrdersLook
from launch.museum.schemes.looking import FreeAlone, Looking, TwoReadings
from launch.museum.worlds.beside_claim import BesideClaim
from launch.museum.worlds.hvm import HvmBuild
from launch.museum.worlds.launching import TooLarge
from toolstack.claim import Claim
from toolstack.interface import Scheme

_4_3: Final = RELEASES["4.3"]
_4_22: Final = RELEASES["4.22"]
_BEFORE_CLAIMS: Final = replace(_4_3, name="4.2", claim_pages=False)


def _claim() -> Scheme:
    return Claim({})


def _looking() -> Scheme:
    return Looking({})


TORN_PHYSINFO: Final = Exhibit(
    name="torn-physinfo",
    when="4.3-dev, 2013",
    source="bec8f17e48, C34, W15",
    broke="a launch is admitted on memory that was never there at one moment",
    switch="free pages and claims from two hypercalls",
    history="In 4.3's development free memory and outstanding claims came from two hypercalls, and `xl "
    "info` subtracted one from the other. Whatever a builder drew from its claim in between "
    "appeared as free memory that nobody had claimed. Before the release both moved into one "
    "physinfo, read under one lock, and the other call was dropped.",
    on=Side(BesideClaim(), _4_22, lambda: TwoReadings({})),
    off=Side(BesideClaim(), _4_22, _looking),
    schedule="a.b3.a",
)
FREEMEM: Final = Exhibit(
    name="freemem",
    when="from 4.3",
    source="libxl, L11, W3",
    broke="a launch is admitted on memory that is claimed",
    switch="free pages alone decide",
    history="libxl_get_free_memory, and with it freemem, looks at free pages and not at what is claimed "
    "of them, in every version read. A second creator counts on memory that the first has been "
    "promised, and its build stops half way.",
    on=Side(BesideClaim(), _4_22, lambda: FreeAlone({})),
    off=Side(BesideClaim(), _4_22, _looking),
    schedule="a1/-",
)
ENOSYS: Final = Exhibit(
    name="enosys-swallowed",
    when="until 4.22",
    source="7672602df6, L3, W7",
    broke="a build is admitted without a claim and fails half way",
    switch="ENOSYS counts as a claim granted",
    history="libxc took the ENOSYS of a hypervisor that knows no claims for success, so that new tools "
    "would run on an old Xen. The builder went on as if its memory were promised. Since 4.22 the "
    "error is passed on: it had hidden a promise that was not kept.",
    on=Side(TooLarge(), _BEFORE_CLAIMS, lambda: EnosysSwallowed({})),
    off=Side(TooLarge(), _BEFORE_CLAIMS, _claim),
    schedule="-",
)
HVM_ADDITIONAL: Final = Exhibit(
    name="hvm-additional",
    when="4.3",
    source="46b5f0fd1f, bug 32 of 4.4, L5, W11",
    broke="a claimed build fails half way",
    switch="the HVM builder of 4.3 claims what it has yet to populate",
    history="A claim is a total, of which the pages a domain holds already are taken off. The HVM builder "
    "of 4.3 had populated its first 640 KiB and then passed the rest instead of the total, so 640 "
    "KiB were promised to nobody. Mended for 4.4.",
    on=Side(HvmBuild("hvm-4.3"), _4_3, _claim),
    off=Side(HvmBuild("hvm-4.4"), _4_3, _claim),
    schedule="b7.a",
    budget=20,
)
MIXED_BUILDERS: Final = Exhibit(
    name="mixed-builders",
    when="2025-26",
    source="xen-api 0707b37b97 (CA-422187), Q8, W6, L9",
    broke="a builder that looked is starved by one that claimed",
    switch="every second builder looks instead of claiming",
    history="Restores and incoming migrations did not claim when XAPI's other builds began to. A build "
    "without a claim gets only what nobody has claimed meanwhile, however much it saw when it "
    "began, and parallel reboots failed. Since then either all builders of a host claim or none "
    "does.",
    on=Side(ClaimRace(), _4_22, lambda: EvenOrdersLook({})),
    off=Side(ClaimRace(), _4_22, _claim),
    schedule="b3.a3.b",
)

BUILDERS: Final = (TORN_PHYSINFO, FREEMEM, ENOSYS, HVM_ADDITIONAL, MIXED_BUILDERS)
