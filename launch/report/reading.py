"""One pass over one host's journal, with everything on the page that watches it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from hypervisor.public.orders import Outcome
from hypervisor.public.units import Seconds
from hypervisor.streams import JournalError
from launch.check.finding import EvidenceError
from launch.check.states import Clocked, Done, Journal, States, cut_off
from launch.judge.cases import Key
from launch.judge.timing import TimedJournal
from launch.report.account import Account
from launch.report.collect import Collector
from launch.report.story import HostStory
from launch.report.wanted import Wanted

NOTHING: Final = Wanted(frozenset(), frozenset(), ())


class Watcher(Protocol):
    """Somebody else who wants to see the steps."""

    def after(self, done: Done, now: Seconds) -> None:
        """A step, done by emulated second `now`."""
        ...


def read_host(
    journal: Journal,
    outcomes: Sequence[Outcome],
    name: str = "",
    chosen: Mapping[Key, str] | None = None,
    wanted: Wanted = NOTHING,
    limit: int = 1200,
    others: Sequence[Watcher] = (),
) -> HostStory:
    """The host's story; a journal that breaks off or is damaged tells it up to there, and says so.

    chosen: domains that get curves, with their labels. limit: points of a curve. UnknownError for a journal
    that cannot be replayed at all.
    """
    timed = TimedJournal(journal, ())
    said = sorted(((one.commit, one.time) for one in outcomes if one.commit), reverse=True)
    states = States(timed, "journal.msgpack")
    account, collector = Account(states.host, chosen or {}, limit), Collector(wanted)
    watchers: Sequence[Watcher] = (account, collector, *others)
    now: Seconds = 0.0
    complaint = ""
    try:
        for item in states.steps():
            if isinstance(item, Clocked):
                continue  # the journal has told the time before the steps
            noted = timed.now(item.result.commit)
            if noted is not None:
                now = max(now, noted)
            else:  # no note of the clock yet: it is no earlier than what was said before
                while said and said[-1][0] < item.result.commit:
                    now = max(now, said.pop()[1])
            for watcher in watchers:
                watcher.after(item, now)
    except (EvidenceError, JournalError) as error:
        complaint = str(error)
    complaint = complaint or cut_off(states, outcomes)
    account.close(now)
    return HostStory(
        name=name,
        end=now,
        steps=states.commit,
        free=account.free.points,
        claims=account.claims.points,
        capacity=states.host.total_pages,
        domains=account.domains(),
        bands=account.bands,
        moves=collector.kept(),
        complaint=complaint,
    )
