"""Parts of the screen: lines of styled text, boxes, an editor, a pager, menus, prompts.

They are lines, not widgets of urwid, but for the line editor; ARCHITECTURE.md has the figures.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from itertools import groupby
from typing import ClassVar, Final, NamedTuple, TypeAlias

import urwid
from urwid.command_map import Command

from evtools.text import clip, pad, sanitize, width
from evtools.top.keys import CONTEXTS, Keymap, keys_text
from evtools.top.table import Detail, Row, TableModel
from evtools.top.ui.theme import ON_CURSOR, Glyphs

#: A style of the theme, and text that is already sanitised.
Span: TypeAlias = tuple[str, str]
Line: TypeAlias = list[Span]


def columns(line: Line) -> int:
    return sum(width(text) for _, text in line)


def plain(line: Line) -> str:
    return "".join(text for _, text in line)


def fitted(line: Line, cols: int, fill: str = "text") -> Line:
    """Return the line in exactly `cols` columns, cut or filled with blanks."""
    room, parts = max(0, cols), list[Span]()
    for style, text in line:
        if room <= 0:
            break
        taken = width(text)
        if taken > room:
            return [*parts, (style, pad(clip(text, room, ""), room))]
        parts.append((style, text))
        room -= taken
    if room > 0:
        parts.append((fill, " " * room))
    return parts


def spread(left: Line, right: Line, cols: int) -> Line:
    """Return `left` and, if there is room for it, `right` at the two ends of `cols` columns."""
    room = cols - columns(left) - columns(right)
    if room < 1:
        return fitted(left, cols)
    return fitted([*left, ("text", " " * room), *right], cols)


def spliced(below: Line, above: Line, start: int) -> Line:
    """Return `below` with `above` laid over it from column `start` on."""
    hidden, rest = start + columns(above), list[Span]()
    for style, text in below:
        head = clip(text, hidden, "")
        shown = text[len(head) :]
        if shown and width(head) < hidden:  # half of a wide character is hidden
            shown = " " * (width(head) + width(shown[0]) - hidden) + shown[1:]
        hidden -= min(hidden, width(text))
        if shown:
            rest.append((style, shown))
    return [*fitted(below, start), *above, *rest]


def wrapped(text: str, cols: int, *, words: bool = False) -> Iterator[str]:
    """Yield `text` in pieces of at most `cols` columns.

    With `words` it is broken between words, and a word that is longer than that is cut.
    """
    cols = max(1, cols)
    # Looking at a part at a time keeps a line of a million characters linear.
    rest, window = 0, 4 * cols
    while len(text) - rest > window or width(text[rest:]) > cols:
        piece = clip(text[rest : rest + window], cols, "") or text[rest]
        if words:
            head = piece.rpartition(" ")[0]
            if head.strip() and text[rest + len(piece)] != " ":
                piece = head
        yield piece
        rest += len(piece)
        while words and text.startswith(" ", rest):
            rest += 1
    yield text[rest:]


def paragraph(text: str, cols: int, *, style: str = "text", indent: str = "") -> list[Line]:
    """Return a text as lines of at most `cols` columns, broken between words."""
    pieces = wrapped(text, cols - len(indent), words=True)
    return [[(style, indent + piece)] for piece in pieces]


class Box(NamedTuple):
    """A popup: lines in a frame; `cursor` is (column, row) in its lines."""

    title: str
    lines: list[Line]
    cursor: tuple[int, int] | None = None


def centred(
    below: Sequence[Line], box: Box, size: tuple[int, int], glyphs: Glyphs
) -> tuple[list[Line], tuple[int, int] | None]:
    """Return the screen with a box in its middle, cut where it does not fit, and the cursor."""
    cols, rows = size
    inner = min(max([width(box.title) + 2, *map(columns, box.lines)]), max(1, cols - 4))
    left_top, right_top, left_end, right_end = glyphs.corners
    bar, side = glyphs.rule, glyphs.side
    title = f" {box.title} " if box.title else ""
    rest = bar * (inner + 1 - width(title)) + right_top
    above: list[Line] = [
        [("rule", left_top + bar), ("head", title), ("rule", rest)],
        *([("rule", side + " "), *fitted(line, inner), ("rule", " " + side)] for line in box.lines),
        [("rule", left_end + bar * (inner + 2) + right_end)],
    ]
    start = max(0, (cols - inner - 4) // 2)
    top = max(0, (rows - len(above)) // 2)
    lines = list(below)
    for number, line in enumerate(above[:rows], top):
        over = fitted(line, min(cols, inner + 4))
        lines[number] = spliced(fitted(lines[number], cols), over, start)
    if box.cursor is None:
        return lines, None
    column, row = box.cursor
    return lines, (min(cols - 1, start + 2 + column), min(rows - 1, top + 1 + row))


#: The longest text that can be typed; longer than any filter that is accepted.
_CHARS_MAX: Final = 4096

#: Completes a text up to the cursor: where the word starts, and the words that fit there.
Completer: TypeAlias = Callable[[str], tuple[int, Sequence[str]]]

# fmt: off
#: urwid's name for a command of the context "prompts".
_EDITS: Final = {
    "line-start":       Command.LINE_START,
    "line-end":         Command.LINE_END,
    "char-left":        Command.LEFT,
    "char-right":       Command.RIGHT,
    "word-left":        Command.WORD_LEFT,
    "word-right":       Command.WORD_RIGHT,
    "erase-right":      Command.DELETE_RIGHT,
    "erase-to-start":   Command.DELETE_TO_LINE_START,
    "erase-to-end":     Command.DELETE_TO_LINE_END,
    "erase-word":       Command.DELETE_SPACE_WORD_LEFT,
    "erase-word-right": Command.DELETE_WORD_RIGHT,
    "yank":             Command.YANK,
}
# fmt: on


class Editor(urwid.Edit):
    """A line being typed, changed by the context "prompts"; `history` is oldest first."""

    # Commands take the place of keys.
    _command_map = urwid.CommandMap()
    for _command, _meaning in _EDITS.items():
        _command_map[_command] = _meaning

    def __init__(
        self, text: str = "", *, history: Sequence[str] = (), complete: Completer | None = None
    ) -> None:
        super().__init__(edit_text=text, max_length=max(_CHARS_MAX, len(text)), kill_buffer=[])
        #: The words that would fit, after `complete` found several.
        self.choices: Sequence[str] = ()
        self._complete = complete
        self._versions = [*history, text]
        self._version = len(history)

    @property
    def text(self) -> str:
        return str(self.edit_text)

    def press(self, key: str, command: str | None) -> None:
        self.choices = ()
        before, after = self.text[: self.edit_pos], self.text[self.edit_pos :]
        if typed(key) or command in _EDITS:
            self.keypress((_CHARS_MAX,), typed(key) or str(command))
        elif command == "erase-left":
            self.keypress((_CHARS_MAX,), "backspace")
        elif command in ("history-back", "history-forward"):
            version = self._version + (1 if command == "history-forward" else -1)
            if 0 <= version < len(self._versions):
                self._versions[self._version] = self.text
                self._version = version
                self._put(self._versions[version])
        elif command == "complete" and self._complete is not None:
            start, choices = self._complete(before)
            if choices:
                shared = os.path.commonprefix(choices)  # noqa: RUF071  (these are no paths)
                self._put(before[:start] + shared, after)
                self.choices = choices if len(choices) > 1 else ()

    def _put(self, before: str, after: str = "") -> None:
        self.set_edit_text((before + after)[:_CHARS_MAX])
        self.set_edit_pos(min(len(before), _CHARS_MAX))

    def line(self, cols: int) -> tuple[Line, int]:
        """Return the part of the text around the cursor, and the cursor's column."""
        # The text may come from a row, that is, from the wire.
        before = sanitize(self.text[: self.edit_pos])
        after = sanitize(self.text[self.edit_pos :])
        room = max(1, cols - 1)
        while width(before) > room:
            before = before[max(1, (width(before) - room) // 2) :]
        return [("text", before + after)], width(before)


def typed(key: str) -> str:
    """Return the character that a key types, or ""."""
    if key == "space":
        return " "
    return key if len(key) == 1 and key.isprintable() else ""


#: How far `left` and `right` go.
_SHIFT_COLS: Final = 8


def step_of(command: str, rows: int) -> int:
    """Return how far a command of the context "moving" goes down where `rows` are in sight."""
    page, half = max(1, rows - 1), max(1, rows // 2)
    steps = {"down": 1, "page-down": page, "half-down": half, "bottom": sys.maxsize}
    opposite = command.replace("up", "down").replace("top", "bottom")
    return steps.get(command, 0) or -steps.get(opposite, 0)


class Pager:
    """Sanitised text of which a part is on the screen; it scrolls, and is searched."""

    def __init__(self, *, wrap: bool = True) -> None:
        self.wrap = wrap
        self.sought = ""
        self._pattern = re.compile("(?!)")  # matches nothing
        self._lines: Sequence[str] = ()
        #: The lines, broken if they are wrapped, and for how many columns that is.
        self._pieces: list[str] = []
        self._laid_out: tuple[int, bool] | None = None
        self._cols, self._rows = 80, 10
        self.reset()

    def show(self, lines: Sequence[str]) -> None:
        """Show other lines; the place is kept where it still exists."""
        if lines != self._lines:
            self._lines, self._laid_out = lines, None

    def reset(self) -> None:
        self._top = self._left = 0
        self._found: int | None = None

    def lines(self, cols: int, rows: int) -> list[Line]:
        self._cols, self._rows = cols, rows
        self._lay_out()
        lines = []
        for piece in self._pieces[self._top : self._top + rows]:
            shown = piece[len(clip(piece, self._left, "")) :] if self._left else piece
            # Every second one is a match.
            texts = self._pattern.split(clip(shown, cols, ""))
            spans = [("match" if at % 2 else "text", text) for at, text in enumerate(texts)]
            lines.append([span for span in spans if span[1]])
        return lines

    def place(self) -> str:
        """Return how far the screen has come in the text, "" if all of it is there."""
        count = len(self._pieces)
        return f"{min(count, self._top + self._rows)}/{count}" if count > self._rows else ""

    def _lay_out(self) -> None:
        if self._laid_out != (self._cols, self.wrap):
            self._laid_out = (self._cols, self.wrap)
            self._pieces = list(self._lines)
            if self.wrap:
                self._pieces = [piece for one in self._lines for piece in wrapped(one, self._cols)]
        self._go(self._top)

    def _go(self, line: int) -> None:
        self._top = min(max(0, line), max(0, len(self._pieces) - self._rows))

    def press(self, command: str) -> None:
        if command == "wrap":
            self.wrap, self._left = not self.wrap, 0
        elif command not in ("left", "right"):
            self._go(self._top + step_of(command, self._rows))
        elif not self.wrap:
            step = _SHIFT_COLS if command == "right" else -_SHIFT_COLS
            self._left = max(0, self._left + step)

    def search(self, text: str) -> bool:
        """Look for a text, whatever its case, from the first line on the screen on.

        Return whether it is there.
        """
        self.sought, self._found = text, self._top - 1
        self._pattern = re.compile(f"({re.escape(text)})", re.IGNORECASE)
        return self.search_next()

    def search_next(self, *, back: bool = False) -> bool:
        """Go to the next line that has the text, or to the one before."""
        self._lay_out()
        hits = [number for number, piece in enumerate(self._pieces) if self._pattern.search(piece)]
        if hits:
            at = self._top if self._found is None else self._found
            ahead = [hit for hit in hits if (hit < at if back else hit > at)] or hits
            self._found = ahead[-1 if back else 0]
            self._go(self._found)
        return bool(hits)


# --- layers over the screen, which take the keys ----------------------------------------

#: None: the layer stays open.  Otherwise it is closed, and this is called then.
OnClose: TypeAlias = Callable[[], object] | None


def closed() -> None:
    """Do nothing after a layer was closed."""


class Choice(NamedTuple):
    """One line of a menu.

    `chosen` is called when it is chosen; None makes it a line to read.  `key` is "" for
    the next free digit.
    """

    text: str
    chosen: Callable[[], object] | None
    key: str = ""


@dataclass(eq=False)
class Menu:
    """Choices to take by key or with the cursor; it is on the one with number `at` first.

    `choices` may be what makes them each time the menu is drawn.  With `stays` the menu
    remains open after a choice.
    """

    title: str
    choices: Sequence[Choice] | Callable[[], Sequence[Choice]]
    _: KW_ONLY
    at: int = 0
    stays: bool = False
    _rows: int = field(default=10, init=False)
    contexts: ClassVar = ("menus",)

    def _keyed(self) -> list[Choice]:
        choices = self.choices() if callable(self.choices) else self.choices
        taken = {choice.key for choice in choices}
        digits = (digit for digit in "123456789" if digit not in taken)
        self.at = min(self.at, max(0, len(choices) - 1))
        return [
            one if one.key or one.chosen is None else one._replace(key=next(digits, ""))
            for one in choices
        ]

    def press(self, key: str, command: str | None) -> OnClose:
        choices = self._keyed()
        choice = next((one for one in choices if one.key == key), None)
        if command == "choose" and choices:
            choice = choice or choices[self.at]
        if choice is not None:
            if choice.chosen is None or not self.stays:
                return choice.chosen
            choice.chosen()
        elif command == "menu-close":
            return closed
        elif command is not None:
            move = command.removeprefix("menu-")
            self.at += step_of(move, self._rows + 1)
            if move in ("down", "up"):  # a single step goes around the ends
                self.at %= max(1, len(choices))
            self.at = max(0, self.at)
        return None

    def box(self, cols: int, rows: int) -> Box:
        self._rows = rows
        lines: list[Line] = []
        choices = self._keyed()
        keys = max((width(one.key) for one in choices), default=0)
        for number, one in enumerate(choices):
            key, text = pad(one.key, keys), clip(one.text, max(1, cols - keys - 3))
            if number == self.at:
                lines.append([("selected", f">{key}  {text}")])
            else:
                style = "hint" if one.chosen is None else "text"
                lines.append([("key", f" {key}  "), (style, text)])
        top = max(0, self.at - rows + 1)
        return Box(self.title, lines[top : top + rows])


_DIALOG_COLS: Final = 76
_LABEL_COLS: Final = 8
#: Commands that scroll a dialog: those of the pager.
_SCROLLS: Final = {
    "menu-page-up": "page-up", "menu-page-down": "page-down", "page-up": "page-up",
    "page-down": "page-down", "history-back": "up", "history-forward": "down",
}  # fmt: skip


@dataclass(eq=False)
class Dialog:
    """Ask before `confirmed` is called; Enter means No at first.

    A line of its text may be a label of a few characters and what it stands before.  Text that
    does not fit is scrolled.
    `word` has to be typed to confirm (a count, a name); with "" the key y is enough.
    `sure` are keys that confirm, too: with some of them Enter means Yes at first.
    """

    title: str
    text: Sequence[str | tuple[str, str]]
    confirmed: Callable[[], object]
    _: KW_ONLY
    word: str = ""
    yes: str = "Yes"
    sure: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.contexts = ("prompts", "moving") if self.word else ("menus",)
        self._at_yes = bool(self.sure)
        self._pager = Pager(wrap=False)
        self._editor = Editor()

    def press(self, key: str, command: str | None) -> OnClose:
        if self.word:
            if command in ("accept", "cancel"):
                # Anything but exactly the word is a No.
                sure = command == "accept" and self._editor.text == self.word
                return self.confirmed if sure else closed
            if not typed(key) and command in _SCROLLS:
                self._pager.press(_SCROLLS[command])
            else:
                self._editor.press(key, command)
        elif key in ("y", *self.sure) or (command == "choose" and self._at_yes):
            return self.confirmed
        elif key == "n" or command in ("choose", "menu-close"):
            return closed
        elif command in _SCROLLS:
            self._pager.press(_SCROLLS[command])
        elif command is not None:
            self._at_yes = not self._at_yes
        return None

    def _body(self, cols: int) -> Iterator[str]:
        for text in self.text:
            if isinstance(text, str):
                yield from wrapped(text, cols, words=True)
            else:
                label, value = text
                # Behind a label nothing looks like another one.
                for piece in wrapped(value, cols - _LABEL_COLS):
                    yield pad(label, _LABEL_COLS) + piece
                    label = ""

    def box(self, cols: int, rows: int) -> Box:
        cols = min(_DIALOG_COLS, cols)
        foot = self._foot(cols)
        body, room = list(self._body(cols)), max(1, rows - len(foot.lines))
        self._pager.show(body)
        lines = self._pager.lines(cols, room if len(body) <= room else max(1, room - 1))
        if place := self._pager.place():
            lines.append([("warning", f"PgDn and PgUp show the rest: {place}")])
            # Whatever part is shown, the box stays as it is.
            foot.lines[0].append(("text", " " * max(map(width, body))))
        if foot.cursor is None:
            return Box(self.title, [*lines, *foot.lines])
        column, row = foot.cursor
        return Box(self.title, [*lines, *foot.lines], (column, len(lines) + row))

    def _foot(self, cols: int) -> Box:
        lines: list[Line] = [[]]
        if not self.word:
            no, yes = ("text", "selected") if self._at_yes else ("selected", "text")
            keys = " or ".join(("y", *self.sure)[:2])
            hint = ("hint", f"{keys} confirms, Esc closes")
            blank = ("text", "  ")
            lines.append([(no, "[No]"), blank, (yes, f"[{self.yes}]"), blank, hint])
            return Box(self.title, lines)
        lead = f"Type {sanitize(self.word)} to confirm: "
        if width(lead) > cols // 2:
            lines += [[("note", piece)] for piece in wrapped(lead.rstrip(), cols)]
            lead = "> "
        line, column = self._editor.line(cols - width(lead))
        lines.append([("prompt", lead), *line])
        return Box(self.title, lines, (width(lead) + column, len(lines) - 1))


_HELP_LEAD: Final = "find> "
_HELP_NOTE: Final = "Typing filters this list. To select text with the mouse, hold Shift."
_HELP_NOTE_SHORT: Final = "Typing filters this list."


class Help:
    """The keys of some contexts; typed text leaves those that have it."""

    contexts = ("prompts", "moving")

    def __init__(self, keymap: Keymap, contexts: Sequence[str]) -> None:
        self._keymap = keymap
        self._about = contexts
        self._editor = Editor()
        self._pager = Pager(wrap=False)

    def press(self, key: str, command: str | None) -> OnClose:
        if typed(key):
            if key == "q" and not self._editor.text:
                return closed
            self._pager.reset()
        elif command in ("cancel", "accept"):
            return closed
        if not typed(key) and command in _SCROLLS:
            self._pager.press(_SCROLLS[command])
        else:
            self._editor.press(key, command)
        return None

    def box(self, cols: int, rows: int) -> Box:
        bindings = list(self._keymap.help(self._about, self._editor.text))
        keys = max((width(keys_text(binding)) for binding in bindings), default=0)
        texts: list[str] = []
        for context, group in groupby(bindings, lambda binding: binding.context):
            texts.append(CONTEXTS[context])
            for one in group:
                lead = f"  {pad(keys_text(one), keys)}  "
                for piece in wrapped(one.help, cols - len(lead), words=True):
                    texts.append(lead + piece)
                    lead = " " * len(lead)
        self._pager.show(texts or ["no key, command or help has this text"])
        body = [
            line if plain(line).startswith(" ") else [("head", plain(line))]
            for line in self._pager.lines(cols, max(1, rows - 2))
        ]
        line, column = self._editor.line(cols - len(_HELP_LEAD))
        head: Line = [("prompt", _HELP_LEAD), *line]
        place = self._pager.place()
        note = _HELP_NOTE if len(_HELP_NOTE) + len(place) + 2 <= cols else _HELP_NOTE_SHORT
        foot: Line = [("hint", f"{note}  {place}")]
        return Box("help", [head, *body, foot], (len(_HELP_LEAD) + column, 0))


class Messages:
    """Messages to be read, the newest first; `messages` returns them with their styles."""

    contexts = ("menus", "moving")

    def __init__(self, messages: Callable[[], Sequence[Span]]) -> None:
        self._messages = messages
        self._top, self._rows = 0, 10

    def press(self, key: str, command: str | None) -> OnClose:  # noqa: ARG002  (as of all layers)
        if command in ("menu-close", "choose"):
            return closed
        if command is not None:
            self._top += step_of(command.removeprefix("menu-"), self._rows)
        return None

    def box(self, cols: int, rows: int) -> Box:
        self._rows = max(1, rows - 1)
        said = self._messages() or [("hint", "there has been no message yet")]
        lines = [line for style, text in said for line in paragraph(text, cols, style=style)]
        self._top = max(0, min(self._top, len(lines) - self._rows))
        last = min(len(lines), self._top + self._rows)
        foot: Line = [("hint", f"{last}/{len(lines)}" if len(lines) > self._rows else "")]
        return Box("messages", [*lines[self._top : last], foot])


@dataclass(eq=False)
class Prompt:
    """Ask for a line of text at the bottom of the screen.

    `accepted` gets the text on Enter; the prompt stays open where it returns None.
    `changed` is called after each key that changed the text, `cancelled` when the prompt was
    left without Enter.  `notes` are shown above it, or else choices or the `hint`.
    """

    label: str
    accepted: Callable[[str], OnClose]
    editor: Editor
    _: KW_ONLY
    hint: str = ""
    changed: Callable[[], object] = closed
    cancelled: Callable[[], object] = closed
    notes: Line = field(default_factory=list, init=False)
    contexts: ClassVar = ("prompts",)

    @property
    def text(self) -> str:
        return self.editor.text

    def press(self, key: str, command: str | None) -> OnClose:
        before = self.text
        if not typed(key):
            if command == "accept":
                return self.accepted(before)
            if command == "cancel" or (command == "erase-left" and not before):
                return self.cancelled
        self.editor.press(key, command)
        if self.text != before:
            self.changed()
        return None

    def lines(self, cols: int) -> tuple[list[Line], int]:
        """Return notes or choices and, below them, the text; and the cursor's column."""
        text, column = self.editor.line(cols - len(self.label))
        notes = self.notes or [("hint", "  ".join(self.editor.choices) or self.hint)]
        above = [line for style, note in notes for line in paragraph(note, cols, style=style)]
        return [*above, [("prompt", self.label), *text]], len(self.label) + column


#: What takes the keys: the commands they mean are looked up in its `contexts`.  All but
#: prompts are a `box` for the middle of a screen, with so much room inside.
Layer: TypeAlias = Menu | Dialog | Help | Messages | Prompt

_GONE: Final = " this has been forgotten: there was no more room for it"


class DetailPane:
    """All that is known of one row of a view: facts, and a section of text below them.

    `focused` is whether keys go to it, `full` whether it has the whole screen.  `section`
    is the one to begin with, "" for the one that suits.
    """

    def __init__(self, key: str, *, section: str = "") -> None:
        self.key = key
        self.focused = False
        self.full = False
        self.pager = Pager()
        self._wanted = section
        self._detail = Detail(key)
        self._forgotten = False

    @property
    def section(self) -> str:
        detail = self._detail
        return self._wanted if self._wanted in detail.sections else detail.section

    def follow(self, key: str) -> None:
        """Show another row of the same view, at the same section."""
        if key != self.key:
            self.key, self._detail, self._forgotten = key, Detail(key), False
            self.pager.reset()

    def show(self, detail: Detail | None) -> None:
        self._forgotten = detail is None
        self._detail = detail or self._detail
        self.pager.show(self._detail.sections.get(self.section, ()))

    def turn(self, step: int) -> None:
        """Go to the next section (1) or to the one before (-1)."""
        names = list(self._detail.sections)
        if names:
            self._wanted = names[(names.index(self.section) + step) % len(names)]
            self.pager.reset()
            self.pager.show(self._detail.sections[self._wanted])

    def lines(self, cols: int, rows: int, glyphs: Glyphs) -> list[Line]:
        detail, bar = self._detail, glyphs.rule
        facts = [line for text in detail.lines for line in _fact(text, cols)]
        if self._forgotten:
            facts.append([("warning" if detail.sections else "hint", _GONE)])
        sections: Line = [
            ("tab-on", f"[{name}]") if name == self.section else ("tab", f" {name} ")
            for name in detail.sections
        ]
        if facts and columns(facts[0]) < cols - columns(sections):
            facts[0] = spread(facts[0], sections, cols)
        elif sections:
            facts.insert(0, spread([], sections, cols))
        above = [*facts, []]
        if len(above) + 1 >= rows:
            # The text matters more than the facts about it.
            above = above[: max(0, rows // 2 - 1)]
        text = self.pager.lines(cols, max(0, rows - len(above) - 1))

        place = self.pager.place()
        right: Line = [("hint", f" {place} "), ("rule", bar * 2)] if place else []
        room = max(0, cols - columns(right))
        left: Line = [("rule", bar * 2), ("head", f" {detail.title} ")]
        left = fitted(left, min(columns(left), room - 2))
        title = [*left, ("rule", bar * (room - columns(left))), *right]
        return [title, *above, *text][:rows]


def _fact(text: str, cols: int) -> Iterator[Line]:
    # What does not fit goes on below its beginning, beside the label.
    label, rest = text[:_LABEL_COLS], text[_LABEL_COLS:]
    for piece in wrapped(rest, cols - _LABEL_COLS - 1, words=True):
        yield [("text", f" {label:<{_LABEL_COLS}}{piece}")]
        label = ""


def _spans(row: Row, coloured: int) -> Line:
    # The cells, of which one says the state by its colour; what is nothing stands back.
    line: Line = []
    for number, cell in enumerate(row.cells):
        tint = row.tints[number] if row.tints else ""
        style = tint or ("dim" if cell.lstrip() == "0" else "text")
        if row.style and number == coloured:
            style = row.style
        if line and line[-1][0] == style == "text":
            line[-1] = style, f"{line[-1][1]} {cell}"
        elif line:
            line += [("text", " "), (style, cell)]
        else:
            line.append((style, cell))
    return line


def table_lines(table: TableModel, size: tuple[int, int], *, stale: bool) -> list[Line]:
    """Return heads and rows in `size` (columns, rows), dimmed where `stale`: of the past."""
    cols, rows = size
    names = [slot.column.name for slot in table.slots]
    # The cell that is coloured: the one that says the state of the row, or else the first.
    coloured = next((names.index(name) for name in ("state", "status") if name in names), 0)
    lines: list[Line] = [[("head", " " + table.heads())]]
    for number in table.in_sight(rows - 1):
        row, fill = table.row(number), "text"
        mark, text = "*" if row.marked else " ", " ".join(row.cells)
        line = [("marked" if row.marked else "text", mark)]
        if number == table.focus_index:
            line, fill = [("selected", "*" if row.marked else ">")], "selected"
            if stale:
                line.append(("selected", text))
            else:
                line += [
                    (f"selected {style}" if style in ON_CURSOR else "selected", shown)
                    for style, shown in _spans(row, coloured)
                ]
        elif stale:
            line = [("stale", mark + text)]
        elif row.style in ("dim", "gone"):
            line.append((row.style, text))
        else:
            line += _spans(row, coloured)
        lines.append(fitted(line, cols, fill))
    return lines


def head_at(table: TableModel, column: int) -> str:
    """Return the name of the table's column at a column of the screen, or ""."""
    start = 1
    for slot in table.slots:
        if start <= column < start + slot.cols:
            return slot.column.name
        start += slot.cols + 1
    return ""
