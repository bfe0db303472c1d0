"""How the behaviours bend a balloon's target."""

from __future__ import annotations

from typing import Any

import pytest

from guests.behaviours import KNOWN, Ideal, make_behaviour
from guests.config import ConstantSpec
from guests.errors import GuestConfigError
from tests.virtual_host import Guest, VirtualHost


class Halfway:
    """A plug-in: goes half of the way at each step, and stops 10 pages short."""

    def __init__(self, short: int = 10) -> None:
        self._short = short

    def aim(self, target: int, current: int, now: float) -> int:
        return current if abs(target - current) <= self._short else (target + current) // 2


class Motionless:
    """No behaviour at all."""


def reached(behaviour: str, target: int, until: float = 30.0, **options: Any) -> int:
    """Pages of a guest of 2000 in the end, told to go to `target`."""
    host = VirtualHost()
    guest = Guest(
        host,
        2000,
        6000,
        workload=ConstantSpec(10),
        self_sizing=False,
        tick=1.0,
        behaviour=behaviour,
        behaviour_options=options,
    )
    host.run_until(1.0)
    host.set_target(guest.domid, target)
    host.run_until(until)
    assert guest.tot_pages() == guest.report().current_pages
    return guest.tot_pages()


@pytest.mark.parametrize(
    ("behaviour", "options", "target", "pages"),
    [
        ("ideal", {}, 500, 500),
        ("ideal", {}, 5000, 5000),
        ("floor", {"pages": 1200}, 500, 1200),
        ("floor", {"pages": 1200}, 5000, 5000),
        ("floor", {"pages": 3000}, 500, 2000),
        ("floor", {}, 500, 2000),
        ("ceiling", {"pages": 3000}, 5000, 3000),
        ("ceiling", {"pages": 3000}, 500, 500),
        ("ceiling", {}, 5000, 2000),
        ("stuck", {}, 500, 2000),
        ("stuck", {}, 5000, 2000),
        (f"{__name__}:Halfway", {"short": 100}, 500, 561),
    ],
)
def test_where_each_behaviour_ends(behaviour: str, options: dict[str, Any], target: int, pages: int) -> None:
    """A guest of 2000 pages told to go to `target` ends where its behaviour lets it."""
    assert reached(behaviour, target, **options) == pages


@pytest.mark.parametrize(("until", "pages"), [(5.0, 1900), (15.0, 1800), (25.0, 1700), (300.0, 500)])
def test_sticky_moves_a_stride_and_stalls(until: float, pages: int) -> None:
    """A sticky guest goes one stride, stalls for its pause, and goes on until it is there."""
    assert reached("sticky", 500, until, stride=100, pause=10.0) == pages


def test_an_unknown_name_lists_the_known_ones() -> None:
    """A misspelt behaviour is answered by one line with all the names."""
    with pytest.raises(GuestConfigError) as refusal:
        make_behaviour("idael")
    text = str(refusal.value)
    assert all(name in text for name in KNOWN) and "\n" not in text


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("no.such.module:Thing", {}, "cannot import 'no.such.module'"),
        (f"{__name__}:Nobody", {}, "has no class 'Nobody'"),
        (f"{__name__}:Motionless", {}, "method aim"),
        ("floor", {"page": 3}, "it takes pages"),
        ("floor", {"pages": -1}, "must be 0 or more"),
        ("sticky", {"stride": 0}, "stride >= 1"),
    ],
)
def test_bad_behaviours_name_the_cure(name: str, options: dict[str, Any], words: str) -> None:
    """What cannot be made is refused in one line that says what would do."""
    with pytest.raises(GuestConfigError) as refusal:
        make_behaviour(name, options)
    assert words in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_class_handed_over_needs_no_module() -> None:
    """A behaviour defined in a notebook travels as an object beside the configuration."""
    assert isinstance(make_behaviour("mine", extra={"mine": Ideal}), Ideal)
