"""Scenes that show the breaks which sharing and populate-on-demand are permitted."""

from __future__ import annotations

from hypervisor.public.access import WritePage
from hypervisor.public.domctl import MapForeign, MaxMem
from hypervisor.public.errors import Errno
from hypervisor.public.memory import MEMF_POPULATE_ON_DEMAND, DecreaseReservation, PopulatePhysmap
from hypervisor.public.pod import SetPodTarget
from hypervisor.public.sharing import SharingNominateGfn
from tests.core.sharing_host import SharingHost


def a_nominate_with_everything_claimed(bench: SharingHost) -> None:
    guest = bench.sharer(2)
    bench.claim(guest, bench.tot_pages(guest)[0] + bench.free)
    bench.nominate(guest, 0)


def a_last_sharer_above_max(bench: SharingHost) -> None:
    one, two = bench.sharers()
    bench.write(two, 0, 1)
    bench.ret(MaxMem(one.domid, 0))
    bench.write(one, 0, 2)


def a_copy_refused_at_max(bench: SharingHost) -> None:
    one, two = bench.sharers()
    bench.leave_free(65)
    bench.claim(two, 4)
    bench.ret(MaxMem(two.domid, 0))
    assert bench.ret(WritePage(0, 1, two.domid)) == -Errno.ENOMEM
    del one


def a_decrease_of_a_shared_page_and_a_hole(bench: SharingHost) -> None:
    _, two = bench.sharers()
    bench.leave_free(65)
    assert bench.ret(DecreaseReservation(two.domid, ((0, 1),), 1)) == 0


def a_foreign_map_of_a_shared_page_and_a_hole(bench: SharingHost) -> None:
    _, two = bench.sharers(2)
    bench.leave_free(65)
    bench.claim(two, 4)
    assert bench.ret(MapForeign(two.domid, ((0, 1), (9, 1)))) == -Errno.EINVAL


def a_touch_with_nothing_in_the_cache(bench: SharingHost) -> None:
    guest = bench.sharer(1)
    bench.ret(PopulatePhysmap(guest.domid, ((512, 1),), 9, MEMF_POPULATE_ON_DEMAND))
    assert bench.ret(WritePage(512, 1, guest.domid)) == -Errno.EFAULT


def a_pod_target_beyond_what_there_is(bench: SharingHost) -> None:
    guest = bench.create(hvm=True)
    bench.ret(PopulatePhysmap(guest.domid, ((512, 1),), 9, MEMF_POPULATE_ON_DEMAND))
    bench.leave_free(70)
    bench.claim(guest, 60)
    assert bench.ret(SetPodTarget(guest.domid, 80)) == -Errno.ENOMEM


def a_first_operation_that_is_refused(bench: SharingHost) -> None:
    guest = bench.create(hvm=True, hap=True)
    bench.ret(SharingNominateGfn(guest.domid, 0))


def a_nominate_of_a_gfn_to_populate(bench: SharingHost) -> None:
    guest = bench.sharer(1)
    bench.ret(PopulatePhysmap(guest.domid, ((512, 1),), 9, MEMF_POPULATE_ON_DEMAND))
    assert bench.ret(SharingNominateGfn(guest.domid, 512)) == -Errno.EINVAL


SHARING_SCENES = (
    a_nominate_with_everything_claimed,
    a_last_sharer_above_max,
    a_copy_refused_at_max,
    a_decrease_of_a_shared_page_and_a_hole,
    a_foreign_map_of_a_shared_page_and_a_hole,
    a_touch_with_nothing_in_the_cache,
    a_pod_target_beyond_what_there_is,
    a_first_operation_that_is_refused,
    a_nominate_of_a_gfn_to_populate,
)
