"""Faults planted in the core are caught, each by the test that faults.toml names."""

from __future__ import annotations

import pytest

from tests.mutations.plant import ROOT, Fault, faults, first_failure


def test_every_fault_still_fits_its_file() -> None:
    """There are at least 25, each changes exactly one line of the core as it is today."""
    assert len(faults()) >= 25
    for fault in faults():
        text = (ROOT / fault.file).read_text(encoding="utf-8")
        changed = fault.patched(text)
        pairs = list(zip(text.splitlines(), changed.splitlines(), strict=True))
        assert sum(before != after for before, after in pairs) == 1, fault.name
        assert fault.file.startswith("hypervisor/core/")


@pytest.mark.long
@pytest.mark.parametrize("fault", faults(), ids=lambda fault: fault.name)
def test_the_named_test_catches_the_fault(fault: Fault) -> None:
    """With the fault in a copy of the core the named test fails, and it is the first that does."""
    assert first_failure(fault, fault.caught_by) is not None
