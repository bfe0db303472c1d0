"""What a replay of recordings found."""

from dataclasses import asdict, dataclass

from launch.conform.comparison import Mismatch
from launch.conform.replay import Agreement, Replayed


@dataclass(frozen=True, slots=True)
class FileReport:
    """One file."""

    file: str
    release: str
    replayed: Replayed
    frame_heap: Agreement | None


@dataclass(frozen=True, slots=True)
class ConformReport:
    """All files. Exit code 1 on any mismatch, else 2 when a file was refused, else 0."""

    files: tuple[FileReport, ...]
    refused: tuple[str, ...] = ()
    """One line per file that could not be replayed."""

    @property
    def matched(self) -> int:
        """Lines on which the core answered as Xen."""
        return sum(one.replayed.matched for one in self.files)

    @property
    def contig(self) -> int:
        """Of the matched: lines whose answer came from the recording, only contiguity decided."""
        return sum(one.replayed.contig for one in self.files)

    @property
    def skipped(self) -> int:
        """Lines that sent nothing to the allocator."""
        return sum(one.replayed.skipped for one in self.files)

    @property
    def mismatches(self) -> tuple[Mismatch, ...]:
        """Every line on which they differ, in the order of the files."""
        return tuple(mismatch for one in self.files for mismatch in one.replayed.mismatches)

    @property
    def mismatched(self) -> int:
        """Number of those lines."""
        return len(self.mismatches)

    @property
    def not_emulated(self) -> tuple[Mismatch, ...]:
        """Lines that differ because the core leaves a fault of Xen out on purpose."""
        return tuple(mismatch for one in self.files for mismatch in one.replayed.not_emulated)

    @property
    def operations(self) -> int:
        """All lines: matched, mismatched, not emulated and skipped."""
        return self.matched + self.mismatched + len(self.not_emulated) + self.skipped

    @property
    def frame_heap(self) -> Agreement | None:
        """How often the real frame heap answered as Xen's; None when it was not asked."""
        asked = [one.frame_heap for one in self.files if one.frame_heap is not None]
        if not asked:
            return None
        return Agreement(sum(one.agreed for one in asked), sum(one.of for one in asked))

    @property
    def exit_code(self) -> int:
        """0 all equal, 1 a mismatch, 2 a refused file and no mismatch."""
        if self.mismatched:
            return 1
        return 2 if self.refused else 0

    def as_json(self) -> dict[str, object]:
        """The document of --json; `mismatches` are complete."""
        agreement = self.frame_heap
        return {
            **self._counts(),
            "frame_heap": None if agreement is None else asdict(agreement),
            "mismatches": [asdict(mismatch) for mismatch in self.mismatches],
            "not_emulated": [asdict(mismatch) for mismatch in self.not_emulated],
            "refused": list(self.refused),
            "releases": self.by_release(),
        }

    def by_release(self) -> dict[str, dict[str, int]]:
        """The totals of each preset's files."""
        releases = sorted({one.release for one in self.files}, key=_numbers)
        return {
            name: ConformReport(tuple(one for one in self.files if one.release == name)).totals()
            for name in releases
        }

    def totals(self) -> dict[str, int]:
        """Counts over all files."""
        totals = self._counts()
        agreement = self.frame_heap
        if agreement is not None:
            totals |= {"frame_heap_agreed": agreement.agreed, "frame_heap_of": agreement.of}
        return totals

    def _counts(self) -> dict[str, int]:
        return {
            "files": len(self.files),
            "operations": self.operations,
            "matched": self.matched,
            "mismatched": self.mismatched,
            "contig": self.contig,
            "skipped": self.skipped,
        }


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))
