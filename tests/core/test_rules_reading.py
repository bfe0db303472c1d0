"""What can be read of the host and its domains, and how far it is consistent (C34-C36)."""

from __future__ import annotations

import pytest

from hypervisor.public.domctl import (
    CDF_HAP,
    CDF_HVM,
    DOMINF_HAP,
    DOMINF_HVM,
    DOMINF_PAUSED,
    DOMINF_RUNNING,
    Created,
    CreateDomain,
    DestroyDomain,
    DomainInfo,
    DomainInfoList,
    GetDomainInfo,
    GetDomainInfoList,
    MaxMem,
    PhysicalInfo,
    Physinfo,
)
from hypervisor.public.errors import Errno
from hypervisor.public.memory import DecreaseReservation, IncreaseReservation
from tests.core.small_host import EVERY_RELEASE, SmallHost, singles

every_release = pytest.mark.parametrize("name", EVERY_RELEASE)


@every_release
@pytest.mark.rule("C34", "P5")
def test_physinfo_counts_free_without_claims(name: str) -> None:
    """free_pages is not lowered by claims, outstanding_pages is their sum, scrub_pages always 0."""
    bench = SmallHost(name, nodes=(2048, 1024))
    a, b = bench.create(), bench.create()
    assert (bench.claim(a, 30), bench.claim(b, 12)) == (0, 0)
    value = bench.call(Physinfo()).value
    assert value == PhysicalInfo(
        total_pages=3072,
        free_pages=bench.free,
        scrub_pages=0,
        outstanding_pages=42,
        nr_nodes=2,
        max_mfn=3071,
    )
    assert bench.ret(Physinfo(), a) == -Errno.EPERM


@every_release
@pytest.mark.rule("C35")
def test_getdomaininfo_tells_the_counters(name: str) -> None:
    """tot, max, outstanding, shr, paged and flags, stamped with the step that read them."""
    bench = SmallHost(name)
    created = bench.call(CreateDomain(flags=CDF_HVM | CDF_HAP, max_vcpus=3)).value
    assert isinstance(created, Created)
    assert bench.ret(MaxMem(created.domid, 400)) == 0
    assert bench.ret(IncreaseReservation(created.domid, 7)) == 7
    running = bench.create()
    assert bench.claim(running, 9) == 0
    reply = bench.call(GetDomainInfo(created.domid))
    assert reply.value == DomainInfo(
        domid=created.domid,
        flags=DOMINF_PAUSED | DOMINF_HVM | DOMINF_HAP,
        tot_pages=7,
        max_pages=100,
        outstanding_pages=0,
        shr_pages=0,
        paged_pages=0,
        nr_online_vcpus=3,
        incarnation=created.incarnation,
        commit=reply.first,
    )
    other = bench.call(GetDomainInfo(running.domid)).value
    assert isinstance(other, DomainInfo)
    assert (other.flags, other.outstanding_pages) == (DOMINF_RUNNING, 9)


@every_release
@pytest.mark.rule("C35")
def test_getdomaininfo_answers_the_next_domain_for_an_absent_one(name: str) -> None:
    """The first domain at or above the id: callers compare. Past the last ESRCH, a special id EINVAL."""
    bench = SmallHost(name)
    guest = bench.create()
    assert bench.ret(CreateDomain(40)) == 0
    value = bench.call(GetDomainInfo(guest.domid + 1)).value
    assert isinstance(value, DomainInfo)
    assert value.domid == 40
    assert bench.ret(GetDomainInfo(41)) == -Errno.ESRCH
    assert bench.ret(GetDomainInfo(0x7FF0)) == -Errno.EINVAL
    assert bench.ret(GetDomainInfo(guest.domid), guest) == -Errno.EPERM


@every_release
@pytest.mark.rule("C36", "P9")
def test_a_listing_is_no_snapshot(name: str) -> None:
    """Pages that move from a later to an earlier domain during a listing are in neither of its records."""
    bench = SmallHost(name)
    first, second = bench.create(), bench.create()
    assert bench.grow(second, 10) == 10
    listing = bench.submit(GetDomainInfoList())
    bench.step(listing)  # dom0
    bench.step(listing)  # the first
    assert bench.ret(DecreaseReservation(second.domid, singles(bench.frames_of(second)))) == 10
    assert bench.grow(first, 10) == 10
    reply = bench.finish(listing)
    assert reply.ret == 3
    assert isinstance(reply.value, DomainInfoList)
    assert [one.tot_pages for one in reply.value.domains[1:]] == [0, 0]
    commits = [one.commit for one in reply.value.domains]
    assert commits == sorted(commits)
    assert commits[2] - commits[1] > 10


@every_release
@pytest.mark.rule("C36")
def test_a_listing_goes_on_among_the_domains_there_are(name: str) -> None:
    """Domains that come or go between its steps, before or behind it, neither stop it nor come twice."""
    bench = SmallHost(name)
    guests = [bench.create().domid for _ in range(4)]
    listing = bench.submit(GetDomainInfoList())
    bench.step(listing)  # dom0
    bench.step(listing)  # the first guest
    destroyed = [bench.ret(DestroyDomain(domid)) for domid in (guests[0], guests[1])]
    bench.step(listing)  # the third: the second has gone
    assert bench.ret(DestroyDomain(guests[3])) == destroyed[0]
    assert bench.ret(CreateDomain(40)) == bench.ret(CreateDomain(guests[0])) == 0
    reply = bench.finish(listing)
    assert isinstance(reply.value, DomainInfoList)
    assert [one.domid for one in reply.value.domains] == [0, guests[0], guests[2], 40]


@every_release
@pytest.mark.rule("C36")
def test_a_listing_starts_and_stops_where_told(name: str) -> None:
    """first_domain and max_domains bound it; the answer is how many there are in it."""
    bench = SmallHost(name)
    guests = [bench.create().domid for _ in range(4)]

    def listed(first: int, most: int) -> list[int]:
        reply = bench.call(GetDomainInfoList(first, most))
        assert isinstance(reply.value, DomainInfoList)
        assert reply.ret == len(reply.value.domains)
        return [one.domid for one in reply.value.domains]

    assert listed(0, 1024) == [0, *guests]
    assert listed(2, 2) == guests[1:3]
    assert listed(0, 0) == listed(0x7FF0, 5) == []
    assert bench.ret(GetDomainInfoList(), bench.create()) == -Errno.EPERM
