"""The user's side of the screen: the views, the layers over them, the last message."""

import math
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from evtools.clock import Clock
from evtools.errors import EvtoolsError, UsageError
from evtools.text import human_age, sanitize
from evtools.top.control import ControlClient
from evtools.top.feed import Feed
from evtools.top.history import History
from evtools.top.keys import Keymap
from evtools.top.model import Model
from evtools.top.options import VIEWS, View
from evtools.top.status import ConnectionStatus
from evtools.top.table import TableModel
from evtools.top.ui.terminal import Display, Loop
from evtools.top.ui.theme import Glyphs
from evtools.top.ui.widgets import Choice, DetailPane, Dialog, Layer, Menu, Viewport

#: How long a message stays, in seconds.
_MESSAGE_STAYS: Final = 10.0


class OwnCost:
    """The CPU and memory that evtop takes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looked, self._used = clock.monotonic(), time.process_time()
        #: Since the last look, as a share of one CPU: 1.0 is all of it.
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
    """Return the memory in use; where the system does not say, the most there was."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


class Place(NamedTuple):
    """Where the user was before a drill-down.

    `target` is the view drilled into, `target_filter` its filter before, and `target_key`
    the row that its cursor had been moved to, if it had.
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
class Session:
    """The state of the screen, which keys and commands change; it draws nothing.

    `execute` carries out a line as it could be typed after `:`; a command that fails says so
    in a message.  `where` is the broker, or the recording, fit to be shown; `control` is None
    where nothing can be changed.  After `asks_after` seconds a key that leaves asks first:
    the data gathered by then cannot be had again.
    """

    model: Model
    keymap: Keymap
    feed: Feed
    connection: ConnectionStatus
    display: Display
    loop: Loop
    clock: Clock
    glyphs: Glyphs
    execute: Callable[["Session", str], None]
    where: str
    own_cost: OwnCost | None = None
    control: ControlClient | None = None
    mouse: bool = False
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
        self.viewports = {name: Viewport() for name in VIEWS}
        self._began = self.clock.monotonic()
        #: A message that waits until there is no other one.
        self._mentioned = ""

    # --- where the user is --------------------------------------------------------------

    @property
    def table(self) -> TableModel:
        return self.model.views[self.view]

    @property
    def viewport(self) -> Viewport:
        """The part of the table on the screen."""
        return self.viewports[self.view]

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
        special: tuple[str, ...] = (self.view,) if self.view in ("workers", "events") else ()
        special += ("paused",) if self.stepping else ()
        if self.reading:
            return ("text", *special, "moving", "lists", "everywhere")
        pane = ("text",) if self.detail is not None else ()
        return (*special, "lists", "moving", *pane, "everywhere")

    @property
    def stepping(self) -> bool:
        """Whether there is something to step or to seek in."""
        return self.model.paused or bool(self.model.options.read)

    # --- keys and commands --------------------------------------------------------------

    def press(self, key: str) -> None:
        layer = self.layer
        if layer is None:
            command = self.keymap.find(key, self.contexts())
            if command is not None:
                self.run(command)
            return

        def press() -> None:
            outcome = layer.press(key, self.keymap.find(key, layer.contexts))
            if outcome is not None:
                self.layers.remove(layer)
                outcome()

        self._guarded(press)

    def paste(self, text: str) -> None:
        """Take pasted text: where something is typed, and nowhere else."""
        if self.layer is None or "prompts" not in self.layer.contexts:
            self.say("text can be pasted into prompts only: press / or : first")
            return
        for character in text:
            if character.isprintable():
                self.press("space" if character == " " else character)

    def run(self, command: str) -> None:
        """Carry out a command; an error becomes a message."""
        self._guarded(lambda: self.execute(self, command))

    def _guarded(self, do: Callable[[], None]) -> None:
        try:
            do()
        except EvtoolsError as error:
            hint = f" ({error.hint.splitlines()[0]})" if error.hint else ""
            self.complain(error.message + hint)

    def recover(self) -> None:
        """Close everything that is open: it may be the cause of a failure."""
        self.layers.clear()
        self.detail = None

    # --- messages -----------------------------------------------------------------------

    def say(self, text: str, style: str = "note") -> None:
        """Show a message until another one comes, or for some seconds."""
        self.message = Message(sanitize(text), style, self.clock.monotonic())

    def complain(self, text: str) -> None:
        self.say(text, "error")

    def mention(self, text: str) -> None:
        """Show a message that takes the place of no other, but waits for its turn."""
        self._mentioned = text
        self.settle()

    def settle(self) -> None:
        """Let go of a message that has been there for long enough."""
        message, now = self.message, self.clock.monotonic()
        if message is not None and now - message.at >= _MESSAGE_STAYS:
            self.message = None
        if self.message is None and self._mentioned:
            text, self._mentioned = self._mentioned, ""
            self.say(text, "warning")

    # --- layers -------------------------------------------------------------------------

    def menu(self, title: str, choices: Sequence[Choice], *, at: int = 0) -> None:
        """Open a menu of fixed choices; the cursor is on the one with number `at`."""
        if choices:
            self.layers.append(Menu(title, lambda: choices, at=at))

    def leave(self) -> None:
        """Leave, or ask first if that would lose the data of a long time."""
        watched = self.clock.monotonic() - self._began
        if watched < self.asks_after or not self.model.intake.events:
            self.loop.end()
            return
        tasks = len(self.model.state.tasks)
        lost = f"{tasks} task{'s' if tasks != 1 else ''}"
        text = f"evtop has watched for {human_age(watched)}. Its data on {lost} will be lost."
        sure = ("q", "Q", "ctrl-c")
        self.layers.append(Dialog("quit evtop?", [text], self.loop.end, yes="Quit", sure=sure))

    # --- going from view to view --------------------------------------------------------

    def show(self, view: str) -> None:
        """Show a view; raise UsageError if there is none of that name."""
        self.switch_to(view)
        self.model.refresh_view(self.view)

    def switch_to(self, view: str) -> None:
        """Show a view as the model has it, without a new picture."""
        found = next((one for one in VIEWS if one == view), None)
        if found is None:
            raise UsageError(f"there is no view {view}", f"there are {', '.join(VIEWS)}")
        if found != self.view:
            self.detail, self.view = None, found
        self.look()

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
            if old.cursor.pinned and old.focus_key is not None:
                table.cursor.expect(old.focus_key)

    def open_detail(self, section: str = "") -> None:
        key = self.table.focus_key
        if key is None:
            self.say("there is no row to look at")
            return
        self.detail = DetailPane(self.view, key, section=section)
        self.look()

    def look(self) -> None:
        """Have the detail show the row under the cursor, as it is now."""
        if self.detail is None:
            return
        key = self.table.focus_key
        if key is not None:
            self.detail.follow(key)
        self.detail.show(self.table.detail(self.detail.key))

    def drill(self, view: str, filter_text: str) -> None:
        """Show another view with a filter; `climb` comes back."""
        target = self.model.views[view]
        pinned = target.focus_key if target.cursor.pinned else None
        place = Place(self.view, self.table.focus_key, view, target.filter_text, pinned)
        target.set_filter(filter_text)
        target.home()
        self.trail.append(place)
        self.show(view)

    def climb(self) -> bool:
        """Go back to where the last drill-down began; False if there was none."""
        if not self.trail:
            return False
        place = self.trail.pop()
        target = self.model.views[place.target]
        target.set_filter(place.target_filter)
        target.home()
        if place.target_key is not None:
            target.cursor.expect(place.target_key)
        self.show(place.view)
        if place.key is not None:
            self.table.cursor.to_key(place.key)
        return True
