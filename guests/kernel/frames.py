"""Names of a guest's pages as run lists: which frames it owns and which it has given back."""

from typing import Literal

from hypervisor.public.units import Gfn, Pages, Run, Runs, runs_length


def split_runs(runs: Runs, extents: Pages) -> tuple[Runs, Runs]:
    """The first `extents` order-0 frames of `runs`, and the rest."""
    head: list[Run] = []
    for index, (first, count) in enumerate(runs):
        if extents < count:
            tail: list[Run] = [(first + extents, count - extents), *runs[index + 1 :]]
            return (*head, *(((first, extents),) if extents else ())), tuple(tail)
        head.append((first, count))
        extents -= count
    return tuple(head), ()


class FrameStack:
    """A stack of order-0 frames held as runs; a run that touches the topmost one joins it.

    A guest that takes from one end and puts back at the same end keeps a handful of runs however often
    its balloon moves. (Linux's pages come in no such order; no rule of Xen's accounting can tell.)
    """

    __slots__ = ("_runs", "pages")

    def __init__(self, runs: Runs = ()) -> None:
        self.pages: Pages = 0
        self._runs: list[Run] = []
        self.push(runs)

    @property
    def runs(self) -> Runs:
        """All frames, bottom of the stack first."""
        return tuple(self._runs)

    @property
    def bottom(self) -> int:
        """The first frame of the bottom run, the last to be taken; IndexError when there is none."""
        return self._runs[0][0]

    def push(self, runs: Runs) -> None:
        """Put frames on top, the last run topmost."""
        for first, count in runs:
            if count:
                self.pages += count
                self._runs.append(self._joined(first, count))

    def _joined(self, first: int, count: int) -> Run:
        if self._runs:
            top_first, top_count = self._runs[-1]
            if top_first + top_count == first:
                self._runs.pop()
                return (top_first, top_count + count)
            if first + count == top_first:
                self._runs.pop()
                return (first, count + top_count)
        return (first, count)

    def take_high(self, pages: Pages) -> Runs:
        """Take up to `pages` frames, highest of the topmost run first."""
        return self._take(pages, high=True)

    def take_low(self, pages: Pages) -> Runs:
        """Take up to `pages` frames, lowest of the topmost run first."""
        return self._take(pages, high=False)

    def _take(self, pages: Pages, *, high: bool) -> Runs:
        taken: list[Run] = []
        while pages and self._runs:
            first, count = self._runs.pop()
            part = min(pages, count)
            left = count - part
            taken.append((first + left, part) if high else (first, part))
            if left:
                self._runs.append((first, left) if high else (first + part, left))
            pages -= part
            self.pages -= part
        return tuple(taken)


class PageNames:
    """The frames a guest owns and those in its balloon.

    An HVM guest names its pages by gfn in every call. A PV guest populates gfns, is told their mfns, and
    gives mfns back. The frames of an HVM guest that started below its static maximum are those above its
    highest one.
    """

    def __init__(self, kind: Literal["hvm", "pv"], frames: Runs, static_max: Pages) -> None:
        owned = runs_length(frames)
        gfns: Runs = frames if kind == "hvm" else ((0, owned),)
        above: Gfn = max((first + count for first, count in gfns), default=0)
        self._owned = FrameStack(gfns)
        self._ballooned = FrameStack(((above, max(0, static_max - owned)),))
        self._mfns = FrameStack(frames) if kind == "pv" else None

    @property
    def owned(self) -> Pages:
        """Pages the guest has."""
        return self._owned.pages

    @property
    def ballooned(self) -> Pages:
        """Pages in the balloon: the most that can be populated."""
        return self._ballooned.pages

    def anchor(self) -> int:
        """A frame to copy a page from or to, as a hypercall wants it named: the last to be given back."""
        frames = self._owned if self._mfns is None else self._mfns
        return frames.bottom if frames.pages else 0

    def take_ballooned(self, pages: Pages) -> Runs:
        """Gfns to populate, out of the balloon until `put_populated` says what became of them."""
        return self._ballooned.take_low(pages)

    def put_populated(self, gfns: Runs, mfns: Runs) -> None:
        """`gfns` have been populated, with `mfns` (needed of a PV guest only)."""
        self._owned.push(gfns)
        if self._mfns is not None:
            self._mfns.push(mfns)

    def put_refused(self, gfns: Runs) -> None:
        """`gfns` were not populated and go back into the balloon."""
        self._ballooned.push(tuple(reversed(gfns)))

    def take_owned(self, pages: Pages) -> tuple[Runs, Runs]:
        """(gfns, frames as decrease_reservation wants them named) of pages to give back."""
        gfns = self._owned.take_high(pages)
        return gfns, gfns if self._mfns is None else self._mfns.take_high(pages)

    def put_ballooned(self, gfns: Runs) -> None:
        """`gfns` have been given back to Xen."""
        self._ballooned.push(gfns)
