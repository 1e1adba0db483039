"""The terminal: urwid's raw screen, our palette, our keys."""

import os
import signal
import termios
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import urwid

from evtools.top.glyphs import Glyphs
from evtools.top.keymap import canonical
from evtools.top.theme import looks
from evtools.top.widgets.canvas import Cursor, painted, palette, use_encoding
from evtools.top.widgets.line import Line

#: What to do with a key, as the table of keys names it.
OnKey: TypeAlias = Callable[[str], None]
#: What to do with a press of a mouse button: button, column, row.
OnClick: TypeAlias = Callable[[int, int, int], None]

#: How long a lone Esc may be the start of what another key sends, in seconds.
#: Shorter ones tear arrow keys up on slow lines.
_ESC_WAIT: Final = 0.06
_RESIZED: Final = "window resize"
#: Where in the settings of a terminal its local modes are.
_LOCAL_MODES: Final = 3
_SUSPEND: Final = "ctrl-z"
_PASTE_BEGIN, _PASTE_END = "begin paste", "end paste"
_MOUSE_PRESS: Final = "mouse press"


class Display:
    """A terminal on which pictures are drawn and from which keys come.

    `on_paste` gets pasted text as a whole: taken as keys it could do anything.
    """

    def __init__(
        self, loop: urwid.SelectEventLoop, glyphs: Glyphs, *, theme: str, colour: bool
    ) -> None:
        use_encoding(ascii_only=glyphs.ascii)
        self._loop = loop
        self.glyphs = glyphs
        self._screen = urwid.display.raw.Screen(bracketed_paste_mode=True, focus_reporting=False)
        self._screen.set_input_timeouts(complete_wait=_ESC_WAIT)
        self._set_colours(colour=colour)
        self.set_theme(theme if colour else "mono")
        self._drawn: Any = None
        self._pasting: list[str] | None = None
        self.on_key: OnKey = lambda _: None
        self.on_click: OnClick = lambda *_: None
        self.on_paste: OnKey = lambda _: None
        self.on_input: Callable[[], None] = lambda: None

    def _set_colours(self, *, colour: bool) -> None:
        found = self._screen.colors
        if not colour:
            self._screen.set_terminal_properties(colors=1)
        elif found == 1:
            # The user wants colours where the environment says there are none.
            self._screen.set_terminal_properties(colors=16)

    def set_theme(self, theme: str) -> None:
        """Draw in other colours from now on."""
        self._screen.register_palette(palette(looks(theme)))

    def set_glyphs(self, glyphs: Glyphs) -> None:
        """Draw with other characters from now on."""
        self.glyphs = glyphs
        use_encoding(ascii_only=glyphs.ascii)
        self.redraw()

    def set_mouse(self, *, on: bool) -> None:
        """Report presses of mouse buttons, or leave the mouse to the terminal."""
        self._screen.set_mouse_tracking(on)
        self._screen.flush()

    # --- start and end --------------------------------------------------------

    def start(self) -> None:
        """Take over the terminal."""
        self._screen.start()
        self._take_ctrl_z()
        self._screen.hook_event_loop(self._loop, self._take)

    def stop(self) -> None:
        """Give the terminal back as it was; idempotent."""
        if self._screen.started:
            self._screen.unhook_event_loop(self._loop)
            self._screen.stop()

    def suspend(self) -> None:
        """Stop as ctrl-z does; the screen comes back when we are continued."""
        self.stop()
        # The whole group, as the terminal would.  The shell waits for the boot
        # loader of a single-file binary, which must stop with us.
        os.kill(0, signal.SIGTSTP)
        self.start()
        self.redraw()

    def _take_ctrl_z(self) -> None:
        """Have ctrl-z as a key.

        Were it the terminal's, it would stop all of our group at once.  The
        shell would then have the terminal before we have given it back.
        """
        descriptor = self._descriptor()
        if descriptor is not None:
            self._screen.tty_signal_keys(susp="undefined", fileno=descriptor)

    def _descriptor(self) -> int | None:
        found: int | None = self._screen._input_fileno()  # noqa: SLF001  (no public name)
        return found

    def resume(self) -> None:
        """Have the terminal as we need it, whoever had it while we were stopped.

        After a ctrl-z urwid has done so already; nobody gave the terminal back
        before a SIGSTOP.
        """
        if not self._screen.started:
            return
        if self._is_line_by_line():
            self.stop()
            self.start()
        else:
            self._take_ctrl_z()
        self.redraw()

    def _is_line_by_line(self) -> bool:
        """Return whether the terminal waits for Enter, as shells leave it."""
        descriptor = self._descriptor()
        if descriptor is None or not os.isatty(descriptor):
            return False
        return bool(termios.tcgetattr(descriptor)[_LOCAL_MODES] & termios.ICANON)

    # --- out ------------------------------------------------------------------

    def size(self) -> tuple[int, int]:
        """Return the columns and rows of the terminal."""
        cols, rows = self._screen.get_cols_rows()
        return max(1, cols), max(1, rows)

    def draw(self, lines: Sequence[Line], size: tuple[int, int], cursor: Cursor) -> None:
        """Show a picture; only the rows that differ are written."""
        picture = (list(lines), size, cursor, self.glyphs)
        if picture == self._drawn or not self._screen.started:
            return
        canvas = painted(lines, size, self.glyphs, cursor)
        self._screen.draw_screen(size, canvas)
        self._drawn = picture

    def redraw(self) -> None:
        """Write everything anew with the next picture."""
        self._drawn = None
        self._screen.clear()

    def send(self, sequence: str) -> None:
        """Write a sequence that is not part of the picture."""
        self._screen.write(sequence)
        self._screen.flush()

    # --- in -------------------------------------------------------------------

    def _take(self, keys: list[Any], _raw: list[int]) -> None:
        """Hand on what urwid has read: keys, presses of the mouse, a new size."""
        for key in keys:
            if key == _RESIZED:
                self._drawn = None
            elif isinstance(key, str):
                self._type(key)
            elif key[0] == _MOUSE_PRESS:
                self.on_click(*key[1:])
        self.on_input()

    def _type(self, key: str) -> None:
        if key == _PASTE_BEGIN:
            self._pasting = []
        elif key == _PASTE_END:
            pasted, self._pasting = self._pasting or [], None
            self.on_paste("".join(pasted))
        elif self._pasting is not None:
            self._pasting.append(key if len(key) == 1 else " ")
        elif (name := canonical(key)) == _SUSPEND:
            self.suspend()  # wherever it is typed
        else:
            self.on_key(name)
