"""The user's side of the screen: the views, the layers over them, the last message."""

import math
import os
import resource
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from evtools.clock import Clock
from evtools.errors import EvtoolsError, UsageError
from evtools.text import human_age, sanitize
from evtools.top.control import ControlClient
from evtools.top.feed import Feed
from evtools.top.files import History
from evtools.top.keys import Keymap
from evtools.top.model import Model
from evtools.top.options import VIEWS, View
from evtools.top.status import ConnectionStatus
from evtools.top.table import TableModel
from evtools.top.ui.terminal import Display
from evtools.top.ui.theme import ASCII, UNICODE, Glyphs
from evtools.top.ui.widgets import Choice, DetailPane, Dialog, Layer, Menu, step_of
from evtools.top.views.tasks import TasksView

#: How long a message stays, in seconds.
_MESSAGE_STAYS: Final = 10.0


class OwnCost:
    """The CPU and memory that evtop takes; `cpu` is a share of one CPU: 1.0 is all of it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looked, self._used = clock.monotonic(), time.process_time()
        self.cpu = 0.0
        self.bytes = _resident_bytes()

    def look(self) -> None:
        """Measure anew; looks within a tenth of a second change nothing."""
        now = self._clock.monotonic()
        if now - self._looked >= 0.1:  # noqa: PLR2004  (see above)
            used = time.process_time()
            self.cpu = (used - self._used) / (now - self._looked)
            self._looked, self._used = now, used
            self.bytes = _resident_bytes()


def _resident_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):  # the most there was, then
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


class Place(NamedTuple):
    """Where the user was before a drill-down into `target`, and how that was.

    `target_key` is the row that its cursor had been moved to.
    """

    view: str
    key: str | None
    target: str
    target_filter: str
    target_key: str | None


class Message(NamedTuple):
    """The line above the keys, and when it came (monotonic seconds)."""

    text: str
    style: str
    at: float


@dataclass(kw_only=True)
class Session(ABC):
    """The state of the screen, which keys and commands change; it draws nothing.

    `end` leaves the loop, `later` does something in it after some seconds, and returns what
    calls that off.  `where` is the broker, or the recording, fit to be shown; `control` is
    None where nothing can be changed.  After `asks_after` seconds a key that leaves asks
    first: the data of that time will be lost.
    """

    model: Model
    keymap: Keymap
    feed: Feed
    connection: ConnectionStatus
    display: Display
    end: Callable[[], None]
    later: Callable[[float, Callable[[], None]], Callable[[], object]]
    clock: Clock
    where: str
    own_cost: OwnCost | None = None
    control: ControlClient | None = None
    asks_after: float = math.inf
    history: History = field(default_factory=History)

    view: View = field(default=VIEWS[0], init=False)
    detail: DetailPane | None = field(default=None, init=False)
    layers: list[Layer] = field(default_factory=list, init=False)
    trail: list[Place] = field(default_factory=list, init=False)
    message: Message | None = field(default=None, init=False)
    #: Whether the table was on the screen when it was last drawn.
    table_shown: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        self._began = self.clock.monotonic()
        #: A message that waits until there is no other one.
        self._mentioned = ""

    @property
    def glyphs(self) -> Glyphs:
        return ASCII if self.model.options.ascii else UNICODE

    @property
    def table(self) -> TableModel:
        return self.model.views[self.view]

    @property
    def reading(self) -> bool:
        """Whether the keys go to the text of the detail."""
        return self.detail is not None and (self.detail.focused or not self.table_shown)

    @property
    def layer(self) -> Layer | None:
        """The layer on top, which takes the keys."""
        return self.layers[-1] if self.layers else None

    def contexts(self) -> tuple[str, ...]:
        """Return where the keymap looks for a key, in this order."""
        special: list[str] = [self.view] if self.view in ("workers", "events") else []
        if self.model.paused or self.model.options.read:  # there is something to step in
            special.append("paused")
        if self.reading:
            return ("text", *special, "moving", "lists", "everywhere")
        pane = ["text"] if self.detail is not None else []
        return (*special, "lists", "moving", *pane, "everywhere")

    # --- keys and commands --------------------------------------------------------------

    def press(self, key: str) -> None:
        """Take a key: the layer on top has it, or else it may mean a command."""
        layer = self.layer
        command = self.keymap.find(key, self.contexts() if layer is None else layer.contexts)
        if layer is None:
            if command is not None:
                self.run(command)
            return
        with self._complaining():
            outcome = layer.press(key, command)
            if outcome is not None:
                self.layers.remove(layer)
                outcome()

    def paste(self, text: str) -> None:
        """Take pasted text: where something is typed, and nowhere else."""
        if self.layer is None or "prompts" not in self.layer.contexts:
            self.say("text can be pasted into prompts only: press / or : first")
            return
        for character in text:
            if character.isprintable():
                self.press("space" if character == " " else character)

    @abstractmethod
    def execute(self, line: str) -> None:
        """Carry out a line as it could be typed after `:`; raise EvtoolsError."""

    def run(self, command: str) -> None:
        """Carry out a command; an error becomes a message."""
        with self._complaining():
            self.execute(command)

    @contextmanager
    def _complaining(self) -> Iterator[None]:
        try:
            yield
        except EvtoolsError as error:
            hint = f" ({error.hint.splitlines()[0]})" if error.hint else ""
            self.say(error.message + hint, "error")

    def recover(self) -> None:
        """Close everything that is open: it may be the cause of a failure."""
        self.layers.clear()
        self.detail = None

    def menu(
        self,
        title: str,
        choices: Sequence[Choice] | Callable[[], Sequence[Choice]],
        *,
        at: int = 0,
        stays: bool = False,
    ) -> None:
        """Open a menu, unless it has no choices; the cursor is on the one with number `at`."""
        if choices:
            self.layers.append(Menu(title, choices, at=at, stays=stays))

    # --- messages -----------------------------------------------------------------------

    def say(self, text: str, style: str = "note") -> None:
        """Show a message until another one comes, or for some seconds."""
        self.message = Message(sanitize(text), style, self.clock.monotonic())

    def mention(self, text: str) -> None:
        """Show a message that takes the place of no other, but waits for its turn."""
        self._mentioned = text
        self.settle()

    def settle(self) -> None:
        """Let go of a message that has been there for long enough."""
        if self.message and self.clock.monotonic() - self.message.at >= _MESSAGE_STAYS:
            self.message = None
        if self.message is None and self._mentioned:
            text, self._mentioned = self._mentioned, ""
            self.say(text, "warning")

    # --- going from view to view --------------------------------------------------------

    def show(self, view: str, *, anew: bool = True) -> None:
        """Show a view, by default in a new picture; raise UsageError if there is no such view."""
        found = next((one for one in VIEWS if one == view), None)
        if found is None:
            raise UsageError(f"there is no view {view}", f"there are {', '.join(VIEWS)}")
        if found != self.view:
            self.detail, self.view = None, found
        self.look()
        if anew:
            self.model.refresh_view(found)

    def replace(self, model: Model) -> None:
        """Go on with another model: filters, orders and columns stay."""
        before, self.model = self.model, model
        for name, table in model.views.items():
            old = before.views[name]
            table.choose_columns(old.chosen)
            table.sort_by(old.sort_key)
            if table.reverse != old.reverse:
                table.invert()
            table.set_filter(old.filter_text)
            if old.pinned and old.focus_key is not None:
                table.expect(old.focus_key)

    def look(self) -> None:
        """Have the detail show the row under the cursor, as it is now."""
        if self.detail is not None:
            if self.table.focus_key is not None:
                self.detail.follow(self.table.focus_key)
            self.detail.show(self.table.detail(self.detail.key))

    def open_detail(self, section: str = "") -> None:
        key = self.table.focus_key
        if key is None:
            raise UsageError("there is no row to look at")
        self.detail = DetailPane(self.view, key, section=section)
        self.look()

    def open(self) -> None:
        """Open the detail of a row, or another view with the tasks of the row."""
        key = self.table.focus_key
        drilled = self.table.drill(key) if key is not None and not self.reading else None
        if drilled is None:
            self.open_detail()
            return
        view, filter_text = drilled
        target = self.model.views[view]
        pinned = target.focus_key if target.pinned else None
        place = Place(self.view, key, view, target.filter_text, pinned)
        target.set_filter(filter_text)
        target.go(0)
        self.trail.append(place)
        self.show(view)

    def back(self) -> None:
        """Close the detail, or go back to where the last drill-down began, or leave."""
        if self.detail is not None:
            self.detail = None
        elif not self.trail:
            self.leave()
        else:
            place = self.trail.pop()
            target = self.model.views[place.target]
            target.set_filter(place.target_filter)
            target.go(0)
            if place.target_key is not None:
                target.expect(place.target_key)
            self.show(place.view)
            if place.key is not None:
                self.table.go_to(place.key)

    def leave(self) -> None:
        """Leave, or ask first if that would lose the data of a long time."""
        watched = self.clock.monotonic() - self._began
        if watched < self.asks_after or not self.model.intake.events:
            self.end()
            return
        tasks = len(self.model.state.tasks)
        lost = f"{tasks} task{'s' if tasks != 1 else ''}"
        text = f"evtop has watched for {human_age(watched)}. Its data on {lost} will be lost."
        sure = ("q", "Q", "ctrl-c")
        self.layers.append(Dialog("quit evtop?", [text], self.end, yes="Quit", sure=sure))

    def escape(self) -> None:
        """Undo one thing: the detail, the marks, the filter, or the message."""
        if self.detail is not None:
            self.detail = None
        elif self.table.marks:
            self.table.marks.clear()
        elif self.table.filter_text:
            self.table.set_filter("")
        else:
            self.message = None

    def next_pane(self, step: int) -> None:
        """Go between table and detail, or to the next view if there is no detail."""
        if self.detail is None:
            self.trail.clear()
            self.show(VIEWS[(VIEWS.index(self.view) + step) % len(VIEWS)])
        elif self.table_shown:
            self.detail.focused = not self.detail.focused

    def move(self, name: str) -> None:
        """Carry out a command of the context "moving", in the text that is read or the table."""
        table = self.table
        if self.reading and self.detail is not None:
            self.detail.pager.press(name)
        elif name not in ("left", "right"):
            table.move(step_of(name, table.room - 1))
        elif isinstance(table, TasksView) and table.tree:
            table.expand(shut=name == "left")
        else:
            table.scroll_columns(1 if name == "right" else -1)
