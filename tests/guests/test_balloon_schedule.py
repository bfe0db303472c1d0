"""The waits of Linux's balloon driver, as vectors (G1, G5)."""

from __future__ import annotations

import pytest

from guests.kernel.schedule import BalloonState, RetrySchedule


def waits(schedule: RetrySchedule, attempts: int) -> list[int | BalloonState]:
    """The wait after each failed attempt, or the state that ended the waiting."""
    answers: list[int | BalloonState] = []
    for _ in range(attempts):
        state = schedule.update(BalloonState.EAGAIN)
        answers.append(schedule.schedule_delay if state is BalloonState.EAGAIN else state)
    return answers


@pytest.mark.rule("G5")
def test_waits_double_from_2_to_32_for_ever() -> None:
    """Up to v5.2 failed attempts are followed by waits of 2, 4, 8, 16, 32, 32 ... seconds without an end."""
    assert waits(RetrySchedule(), 9) == [2, 4, 8, 16, 32, 32, 32, 32, 32]


@pytest.mark.rule("G5")
def test_done_resets_the_delay() -> None:
    """An attempt that succeeds makes the next failure wait 2 seconds again."""
    schedule = RetrySchedule()
    waits(schedule, 4)
    assert schedule.update(BalloonState.DONE) is BalloonState.DONE
    assert waits(schedule, 2) == [2, 4]


@pytest.mark.rule("G5")
def test_v5_3_gives_up_at_the_fourth_failure_and_starts_afresh() -> None:
    """With max_retry_count 4 the fourth failure in a row is ECANCELED, and the delay is reset."""
    schedule = RetrySchedule(max_retry_count=4)
    assert waits(schedule, 4) == [2, 4, 8, BalloonState.ECANCELED]
    assert waits(schedule, 4) == [2, 4, 8, BalloonState.ECANCELED]


@pytest.mark.rule("G1")
def test_fields_start_as_in_balloon_init() -> None:
    """schedule_delay and retry_count start at 1, max_retry_count at 0, which is unlimited."""
    schedule = RetrySchedule()
    assert (schedule.schedule_delay, schedule.retry_count, schedule.max_retry_count) == (1, 1, 0)
