"""When the balloon driver tries again: Linux's update_schedule() as guest state (G1, G5)."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

MAX_SCHEDULE_DELAY: Final = 32
"""Seconds; the longest wait between two attempts."""
RETRY_UNLIMITED: Final = 0


class BalloonState(Enum):
    """Linux's enum bp_state."""

    DONE = "done"
    EAGAIN = "eagain"
    ECANCELED = "ecanceled"


@dataclass(slots=True)
class RetrySchedule:
    """schedule_delay, retry_count and max_retry_count of balloon_stats.

    `max_retry_count` is 0 (unlimited) in v3.2 to v5.2 and 4 from v5.3 on (a1078e821b, XSA-300).
    """

    max_retry_count: int = RETRY_UNLIMITED
    schedule_delay: int = 1
    retry_count: int = 1

    def update(self, state: BalloonState) -> BalloonState:
        """The state after an attempt; on EAGAIN `schedule_delay` holds the seconds to wait."""
        if state is BalloonState.DONE:
            self._reset()
            return BalloonState.DONE
        self.retry_count += 1
        if self.max_retry_count != RETRY_UNLIMITED and self.retry_count > self.max_retry_count:
            self._reset()
            return BalloonState.ECANCELED
        # Doubled before it is slept: the first wait is 2 s, never 1 (G5).
        self.schedule_delay = min(self.schedule_delay * 2, MAX_SCHEDULE_DELAY)
        return BalloonState.EAGAIN

    def _reset(self) -> None:
        self.schedule_delay = 1
        self.retry_count = 1
