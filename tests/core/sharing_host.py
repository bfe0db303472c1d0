"""Short names for what the tests of page sharing do to a small host."""

from __future__ import annotations

from hypervisor.core.machine import Operation
from hypervisor.core.steps import Caller
from hypervisor.public.access import PageContent, ReadPage, SharingBroken, WritePage
from hypervisor.public.memory import DecreaseReservation
from hypervisor.public.requests import Reply
from hypervisor.public.sharing import (
    RING_ENABLE,
    GetSharingFreedPages,
    GetSharingSharedPages,
    MemSharingControl,
    SharingAddPhysmap,
    SharingHandle,
    SharingNominateGfn,
    SharingRing,
    SharingShare,
)
from tests.core.small_host import CONTROL, SmallHost


class SharingHost(SmallHost):
    """A small host whose HVM domains share."""

    def sharer(self, pages: int, max_pages: int | None = None) -> Caller:
        """An HVM domain with sharing enabled and pages at gfns 0 and up, page n holding 100 + n."""
        who = self.create(hvm=True, hap=True, max_pages=max_pages)
        assert self.ret(MemSharingControl(who.domid, True)) == 0
        assert self.populate(who, 0, pages) == pages
        for gfn in range(pages):
            assert self.ret(WritePage(gfn, 100 + gfn), who) == 0
        return who

    def nominate(self, who: Caller, gfn: int) -> int:
        """The handle of a page that can be shared."""
        reply = self.call(SharingNominateGfn(who.domid, gfn))
        assert reply.ret == 0 and isinstance(reply.value, SharingHandle)
        return reply.value.handle

    def share(self, source: Caller, client: Caller, gfn: int, client_gfn: int | None = None) -> int:
        """Both nominated, and the client's page given up for the source's."""
        other = gfn if client_gfn is None else client_gfn
        mine, theirs = self.nominate(source, gfn), self.nominate(client, other)
        return self.ret(SharingShare(source.domid, gfn, mine, client.domid, other, theirs))

    def plug(self, source: Caller, gfn: int, client: Caller, client_gfn: int) -> int:
        """add_physmap of the source's page at a hole of the client."""
        handle = self.nominate(source, gfn)
        return self.ret(SharingAddPhysmap(source.domid, gfn, handle, client.domid, client_gfn))

    def sharers(self, pages: int = 1, max_pages: int | None = None) -> tuple[Caller, Caller]:
        """Two domains that share all their pages."""
        one, two = self.sharer(pages, max_pages), self.sharer(pages, max_pages)
        for gfn in range(pages):
            assert self.share(one, two, gfn) == 0
        return one, two

    def read(self, who: Caller, gfn: int) -> int:
        """What the domain sees there."""
        value = self.call(ReadPage(gfn), who).value
        assert isinstance(value, PageContent)
        return value.content

    def write(self, who: Caller, gfn: int, content: int) -> SharingBroken | None:
        """A write that goes through; how sharing was broken by it, if it was."""
        reply = self.call(WritePage(gfn, content), who)
        assert reply.ret == 0
        assert reply.value is None or isinstance(reply.value, SharingBroken)
        return reply.value

    def fault(self, who: Caller, gfn: int, content: int) -> Operation:
        """A write taken as far as it gets."""
        operation = self.submit(WritePage(gfn, content), who)
        self.go_on_until_parked(operation)
        return operation

    def go_on(self, operation: Operation) -> Reply:
        """The rest of an operation that runs again."""
        while operation.reply is None:
            assert self.machine.is_runnable(operation)
            self.step(operation)
        self.assert_sound()
        return operation.reply

    def go_on_until_parked(self, operation: Operation) -> None:
        """As far as it gets."""
        while self.machine.is_runnable(operation):
            self.step(operation)
        self.assert_sound()

    def listen(self, who: Caller) -> None:
        """The control domain becomes the domain's sharing helper."""
        assert self.ret(SharingRing(who.domid, RING_ENABLE)) == 0

    def give(self, who: Caller, gfn: int) -> int:
        """The domain gives one page back."""
        return self.ret(DecreaseReservation(who.domid, ((gfn, 1),)), who)

    @property
    def counts(self) -> tuple[int, int]:
        """(nr_shared_mfns, nr_saved_mfns), as anyone may read them."""
        return self.ret(GetSharingSharedPages()), self.ret(GetSharingFreedPages())

    def shr_pages(self, *whom: Caller) -> list[int]:
        """shr_pages of each."""
        return [self.domain(one.domid).shr_pages for one in whom]

    def tot_pages(self, *whom: Caller) -> list[int]:
        """tot_pages of each."""
        return [self.domain(one.domid).tot_pages for one in whom]


__all__ = ["CONTROL", "SharingHost"]
