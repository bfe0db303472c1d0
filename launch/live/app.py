"""The live view: memory of every host, builds in flight, busy guests, refusals, and keys to steer the run.

It looks at the hosts through their observers' sockets, as anybody may; what it asks for goes to the launcher.
"""

from __future__ import annotations

import time
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event
from typing import ClassVar, Final

import msgspec
from rich.markup import escape
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import DataTable, Footer, RichLog, Static

from hypervisor.public.observation import Snapshot
from launch.live.pictures import build_line, memory_bar, pace_line, refusal_line, title
from launch.live.states import state_letters
from launch.live.steering import Command, Said, Verb
from launch.live.trend import Busy, Trend, builds, refused_by_reason
from launch.live.watching import Sight, Watcher

LOOK_SECONDS: Final = 0.5
"""Real seconds between two looks."""
PATIENCE_MS: Final = 1000
GUESTS_SHOWN: Final = 200
COLUMNS: Final = ("guest", "host", "ID", "state", "tot_pages", "max_pages", "claim", "requests/s")

RowKey = tuple[str, int, int]
"""(host, domid, incarnation)."""


class Guests(DataTable[str]):
    """A row for each guest, the busiest first."""


class LiveApp(App[None]):
    """See the module. `connection` is the view's end of a `Steering`."""

    TITLE = "claimlab"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #hosts { height: auto; padding: 0 1; }
    #middle { height: 1fr; }
    #guests { width: 3fr; }
    #side { width: 2fr; padding: 0 1; }
    #builds, #refusals { height: 1fr; overflow-y: auto; }
    #log { height: 6; border-top: solid $primary; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "ask('pause')", "pause / go on"),
        Binding("h", "guest('hold')", "hold / release guest"),
        Binding("k", "guest('kill')", "kill guest"),
        Binding("d", "leave", "detach"),
        Binding("q,ctrl+c,ctrl+q", "ask('stop')", "stop the run", priority=True),
    ]

    def __init__(self, folder: Path, connection: Connection) -> None:
        super().__init__()
        self._folder = folder
        self._connection = connection
        self._ended = Event()
        self._seen: dict[str, tuple[float, Snapshot]] = {}
        self._rows: list[RowKey] = []
        self.trends: dict[str, Trend] = {}
        """What is shown, by host."""
        self.paused = False

    def compose(self) -> ComposeResult:
        """Hosts above; guests left; builds and refusals right; what was said below."""
        yield Static("waiting for a host to come up", id="hosts")
        with Horizontal(id="middle"):
            yield Guests(id="guests", cursor_type="row", zebra_stripes=True)
            with Vertical(id="side"):
                yield Static("", id="builds")
                yield Static("", id="refusals")
        yield RichLog(id="log", max_lines=200, wrap=True)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look and to listen, each in a thread of its own: both wait for others."""
        table = self.query_one(Guests)
        for name in COLUMNS:
            table.add_column(name)
        table.focus()
        self.run_worker(self._watch, thread=True)
        self.run_worker(self._listen, thread=True)

    def on_unmount(self) -> None:
        """No more looks."""
        self._ended.set()

    # ---- threads

    def _watch(self) -> None:
        watcher = Watcher(self._folder, PATIENCE_MS)
        try:
            while not self._ended.wait(LOOK_SECONDS):
                sights = watcher.look()
                if not self._ended.is_set():
                    self.call_later(self._show, sights, time.monotonic())
        finally:
            watcher.close()

    def _listen(self) -> None:
        try:
            while not self._ended.is_set():
                if self._connection.poll(LOOK_SECONDS):
                    said = msgspec.json.decode(self._connection.recv_bytes(), type=Said)
                    self.call_later(self._take, said)
        except (EOFError, OSError):
            if not self._ended.is_set():
                self.call_later(self.exit)  # the launcher has nothing more to show

    # ---- what is shown

    def _take(self, said: Said) -> None:
        if said.paused is not None:
            self.paused = said.paused
        if said.text:
            self.query_one("#log", RichLog).write(said.text)

    def _show(self, sights: list[Sight], moment: float) -> None:
        heads: list[str] = []
        building: list[str] = []
        refusals: list[str] = []
        busy: list[tuple[str, Busy]] = []
        width = max(20, self.size.width - 4)
        for sight in sights:
            host = sight.access.host
            trend = self._trend(sight, moment)
            heads.append(title(sight, None if trend is None else trend.now, self.paused))
            if trend is None:
                continue
            heads += [memory_bar(trend.now, width), pace_line(trend)]
            building += [build_line(host, one) for one in builds(trend.now)]
            refusals += [refusal_line(host, *one) for one in refused_by_reason(trend.now)]
            busy += [(host, one) for one in trend.guests()]
        self.query_one("#hosts", Static).update("\n".join(heads) or "no host is up now")
        self.query_one("#builds", Static).update("\n".join(["[b]builds in flight[/b]", *building]))
        self.query_one("#refusals", Static).update("\n".join(["[b]refused allocations[/b]", *refusals]))
        self._fill(sorted(busy, key=lambda one: -one[1].per_second)[:GUESTS_SHOWN])

    def _trend(self, sight: Sight, moment: float) -> Trend | None:
        """None before the first answer; while the run stands still, what was seen last."""
        key = f"{sight.access.host} {sight.access.endpoints}"
        if sight.snapshot is not None:
            before_moment, before = self._seen.get(key, (moment, None))
            self._seen[key] = moment, sight.snapshot
            self.trends[sight.access.host] = Trend(sight.snapshot, before, moment - before_moment)
        return self.trends.get(sight.access.host) if key in self._seen else None

    def _fill(self, busy: list[tuple[str, Busy]]) -> None:
        """The cursor stays on the guest that it was on, wherever that one has moved."""
        table = self.query_one(Guests)
        chosen = self._chosen()
        table.clear()
        self._rows = [(host, one.domain.domid, one.domain.incarnation) for host, one in busy]
        for host, one in busy:
            domain = one.domain
            figures = (domain.tot_pages, domain.max_pages, domain.outstanding_pages)
            table.add_row(
                escape(domain.name or "(nobody)"),  # a name is no markup
                host,
                str(domain.domid),
                state_letters(domain.flags, domain.is_dying),
                *(f"{figure:,}" for figure in figures),
                f"{one.per_second:,.0f}",
            )
        if chosen in self._rows:
            table.move_cursor(row=self._rows.index(chosen))

    def _chosen(self) -> RowKey | None:
        row = self.query_one(Guests).cursor_row
        return self._rows[row] if 0 <= row < len(self._rows) else None

    # ---- keys

    def action_ask(self, verb: str) -> None:
        """Ask for something that concerns the whole run."""
        self._send(Command(Verb(verb)))

    def action_guest(self, verb: str) -> None:
        """Ask for something that concerns the guest under the cursor."""
        chosen = self._chosen()
        if chosen is not None:
            self._send(Command(Verb(verb), *chosen))

    def action_leave(self) -> None:
        """Close the view; the run goes on."""
        self.exit()

    def _send(self, command: Command) -> None:
        try:
            self._connection.send_bytes(msgspec.json.encode(command))
        except OSError:
            self.exit()
