"""What the user sees and where: the views, what lies over them, the last message."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from evtools.clock import Clock
from evtools.errors import EvtoolsError, UsageError
from evtools.text import human_age, sanitize
from evtools.top.choices import VIEWS, View
from evtools.top.desk import ControlDesk
from evtools.top.feed import Feed
from evtools.top.glyphs import Glyphs
from evtools.top.history import History
from evtools.top.keymap import Keymap
from evtools.top.link import Link
from evtools.top.model import Model
from evtools.top.table import TableModel
from evtools.top.widgets.detail import DetailPane
from evtools.top.widgets.dialog import Dialog
from evtools.top.widgets.editor import Editor
from evtools.top.widgets.layer import Layer
from evtools.top.widgets.menu import Choice, Menu
from evtools.top.widgets.prompt import Prompt
from evtools.top.widgets.table import Viewport

_log = logging.getLogger(__name__)

#: How long a message stays, in seconds.
_MESSAGE_STAYS: Final = 10.0


class Host(Protocol):
    """What a session has done outside of itself."""

    def later(self, seconds: float, do: Callable[[], None]) -> Callable[[], None]:
        """Have something done after a while; return what calls that off."""
        ...

    def send(self, sequence: str) -> None:
        """Write a sequence to the terminal that is not part of the picture."""
        ...

    def set_theme(self, theme: str) -> None:
        """Draw in other colours."""
        ...

    def set_glyphs(self, glyphs: Glyphs) -> None:
        """Draw with other characters."""
        ...

    def set_mouse(self, *, on: bool) -> None:
        """Take presses of mouse buttons, or leave the mouse to the terminal."""
        ...

    def screen(self) -> list[str]:
        """Return the text of the last picture, line by line."""
        ...

    def redraw(self) -> None:
        """Write the whole screen anew."""
        ...

    def suspend(self) -> None:
        """Stop the process as ctrl-z does."""
        ...

    def end(self) -> None:
        """Leave."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where the user was before a drill-down.

    `target` is the view drilled into, `target_filter` what it showed, and
    `target_key` the row that its cursor had been moved to, if it had.
    """

    view: str
    key: str | None
    target: str
    target_filter: str
    target_key: str | None


@dataclass(frozen=True, slots=True)
class Message:
    """The line above the keys, and when it came (monotonic seconds)."""

    text: str
    style: str
    at: float


@dataclass(slots=True, kw_only=True)
class Parts:
    """What a session works with; `desk` is None where nothing can be changed.

    After `asks_after` seconds a key that leaves asks first: what is remembered by
    then cannot be had again.
    """

    model: Model
    keymap: Keymap
    feed: Feed
    link: Link
    host: Host
    clock: Clock
    glyphs: Glyphs
    desk: ControlDesk | None = None
    mouse: bool = False
    asks_after: float = math.inf
    history: History = field(default_factory=History)


class Session:
    """The user's side of the screen.

    Keys and commands change it; it draws nothing.  `run` carries out a line as
    it could be typed after `:`; a command that fails says so in a message.
    """

    def __init__(self, parts: Parts, run: Callable[["Session", str], None]) -> None:
        self.model = parts.model
        self.keymap = parts.keymap
        self.feed = parts.feed
        self.link = parts.link
        self.host = parts.host
        self.clock = parts.clock
        self.glyphs = parts.glyphs
        self.desk = parts.desk
        self.mouse = parts.mouse
        self.history = parts.history
        self._began = parts.clock.monotonic()
        self._asks_after = parts.asks_after
        self.view: View = VIEWS[0]
        self.detail: DetailPane | None = None
        self.layers: list[Layer] = []
        self.trail: list[Place] = []
        self.message: Message | None = None
        #: What is to be said when there is nothing else to read.
        self._mentioned = ""
        self.viewports = {name: Viewport() for name in VIEWS}
        #: Whether the table was on the screen when it was last drawn.
        self.table_shown = True
        self._run = run

    # --- where we are -----------------------------------------------------------

    @property
    def table(self) -> TableModel:
        """The table of the view."""
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
        """What lies on top and takes the keys."""
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
        return self.model.paused or self.model.replayed

    # --- keys and commands ------------------------------------------------------

    def press(self, key: str) -> None:
        """Take a key, as the table of keys names it."""
        layer = self.layer
        if layer is not None:
            self._guarded(lambda: self._press_layer(layer, key))
            return
        command = self.keymap.find(key, self.contexts())
        if command is not None:
            self.run(command)

    def _press_layer(self, layer: Layer, key: str) -> None:
        outcome = layer.press(key, self.keymap.find(key, layer.contexts))
        if outcome is not None:
            self.layers.remove(layer)
            outcome()

    def paste(self, text: str) -> None:
        """Take pasted text: where something is typed, and nowhere else."""
        if self.layer is None or "prompts" not in self.layer.contexts:
            self.say("pasted text is taken by prompts only: press / or : first")
            return
        for character in text:
            if character.isprintable():
                self.press("space" if character == " " else character)

    def run(self, command: str) -> None:
        """Carry out a command; what goes wrong becomes a message."""
        self._guarded(lambda: self._run(self, command))

    def _guarded(self, do: Callable[[], None]) -> None:
        try:
            do()
        except EvtoolsError as error:
            hint = f" ({error.hint.splitlines()[0]})" if error.hint else ""
            self.complain(error.message + hint)

    def recover(self) -> None:
        """Close all that was opened: what was in it may be what failed."""
        self.layers.clear()
        self.detail = None

    # --- what is said -----------------------------------------------------------

    def say(self, text: str, style: str = "note") -> None:
        """Show a message until another one comes, or for some seconds."""
        self.message = Message(sanitize(text), style, self.clock.monotonic())

    def complain(self, text: str) -> None:
        """Show what went wrong."""
        self.say(text, "error")

    def mention(self, text: str) -> None:
        """Show a message that takes the place of no other, but waits for its turn."""
        self._mentioned = text
        self.settle()

    def settle(self) -> None:
        """Let go of a message that has been there for long enough."""
        if self.message is not None:
            age = self.clock.monotonic() - self.message.at
            if age >= _MESSAGE_STAYS:
                self.message = None
        if self.message is None and self._mentioned:
            text, self._mentioned = self._mentioned, ""
            self.say(text, "warning")

    # --- layers -----------------------------------------------------------------

    def menu(self, title: str, choices: Sequence[Choice], *, at: int = 0) -> None:
        """Open a menu of choices that stay as they are; `at` is where one begins."""
        if choices:
            self.layers.append(Menu(title, lambda: choices, at=at))

    def ask(self, prompt: Prompt) -> None:
        """Open a prompt."""
        self.layers.append(prompt)

    def close(self, layer: Layer) -> None:
        """Close what may be open."""
        if layer in self.layers:
            self.layers.remove(layer)

    def ask_for(self, label: str, command: str, *, hint: str) -> None:
        """Ask for what stands behind a command, and carry it out."""

        def accepted(text: str) -> bool:
            self.close(prompt)
            if text.strip():
                self.history.remember(command, text)
                self.run(f"{command} {text}")
            return False

        prompt = Prompt(label, Editor(history=self.history.lines(command)), accepted)
        prompt.error = [("hint", hint)]
        self.layers.append(prompt)

    def leave(self) -> None:
        """Leave, or ask first if that would lose what took long to gather."""
        watched = self.clock.monotonic() - self._began
        events = self.model.intake.events
        if watched < self._asks_after or not events:
            self.host.end()
            return
        tasks = len(self.model.state.tasks)
        lost = f"{tasks} task{'s' if tasks != 1 else ''}"
        text = f"It has watched for {human_age(watched)}. What it knows of {lost} will be lost."
        sure = ("q", "Q", "ctrl-c")
        self.layers.append(Dialog("quit evtop?", [text], self.host.end, yes="Quit", sure=sure))

    # --- going from view to view --------------------------------------------------

    def show(self, view: str) -> None:
        """Show a view; raise UsageError if there is none of that name."""
        self.turn_to(view)
        self.model.refresh_view(self.view)

    def turn_to(self, view: str) -> None:
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
        """Open the detail of the row under the cursor."""
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
