"""What a domain does with its memory, as far as the hypervisor has a part in it: reads and writes of a page.

No hypercall: a guest's access traps only where a page is shared or populated on demand (EPT violation), and
is asked for here in every case so that the core knows what each page holds. A page's content is a number of
64 bits that stands for 4 KiB; a page that nobody wrote since it left the heap holds 0, the page of zeros.
"""

from typing import Final

from msgspec import Struct

from hypervisor.public.units import DOMID_SELF, U16, U64

ACCESS: Final = 0x2_0000


class ReadPage(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=ACCESS | 1):
    """A vcpu, or the control domain on its behalf, reads a page. Answers 0 with the value `PageContent`.

    A populate-on-demand entry gets its page now (A30). EFAULT for a hole or somebody else's frame.
    """

    gfn: U64  # in: a gfn (HVM) or mfn (PV)
    domid: U16 = DOMID_SELF  # in


class WritePage(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=ACCESS | 2):
    """A vcpu, or the control domain on its behalf, writes a page: what breaks sharing (S9, S10).

    Answers 0; the value is `SharingBroken` when the page had been shared. Where there is no page for the
    copy the domain's own write does not return: the vcpu is paused for the helper, or without one the
    domain crashes. The control domain is answered ENOMEM. EFAULT as for a read.
    """

    gfn: U64  # in
    content: U64  # in
    domid: U16 = DOMID_SELF  # in


class PageContent(Struct, frozen=True, array_like=True, tag=52):
    """Value of a read."""

    content: int


class SharingBroken(Struct, frozen=True, array_like=True, tag=53):
    """Value of a write that made its page private."""

    copied: bool
    """True: a page was taken from the heap. False: the last sharer kept the frame (S9a)."""
    stalls: int
    """How often the vcpu was paused for want of memory before it succeeded (S10)."""


AccessOp = ReadPage | WritePage
AccessValue = PageContent | SharingBroken
