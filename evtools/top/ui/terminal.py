"""The terminal: urwid's raw screen, signals, and sequences beside the picture."""

import base64
import errno
import os
import signal
import termios
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final, Self, TypeAlias

import urwid
from urwid.display.common import InputClosedError

from evtools.clock import Clock
from evtools.signals import EndingSignals, install, put_back
from evtools.top.keys import canonical
from evtools.top.options import TopOptions
from evtools.top.ui.theme import ASCII, UNICODE, Glyphs, on_cursor, palette
from evtools.top.ui.widgets import Line, fitted

#: What ends the loop of a display when it is raised there.
Leave: Final = urwid.ExitMainLoop
#: Column and row, both from 0.
Cursor: TypeAlias = tuple[int, int] | None

#: The longest that terminals take in one piece (xterm, and its imitations).
COPY_BYTES_MAX: Final = 74_994


def copy_sequence(text: str) -> str:
    """Return what puts `text` into the terminal's clipboard (OSC 52), "" if it is too long.

    That works through ssh; whether a terminal obeys is not known.
    """
    encoded = base64.b64encode(text.encode(errors="replace")).decode("ascii")
    return f"\x1b]52;c;{encoded}\x07" if len(encoded) <= COPY_BYTES_MAX else ""


def paint(
    lines: Sequence[Line], size: tuple[int, int], glyphs: Glyphs, cursor: Cursor = None
) -> urwid.TextCanvas:
    """Return a canvas of `size` (columns, rows) that shows the lines, cut or filled up."""
    cols, rows = size
    texts: list[bytes] = []
    styles: list[list[tuple[Hashable, int]]] = []
    for number in range(rows):
        line = fitted(lines[number] if number < len(lines) else [], cols)
        parts = [(style, glyphs.plain(text).encode(errors="replace")) for style, text in line]
        texts.append(b"".join(part for _, part in parts))
        styles.append([(style, len(part)) for style, part in parts])
    # urwid need not measure again: both ask wcwidth, and where the two should ever differ,
    # a column askew is better than no screen.
    return urwid.TextCanvas(texts, styles, cursor=cursor, maxcol=cols, check_width=False)


#: How long a lone Esc may be the start of what another key sends, in seconds.  A shorter
#: wait tears arrow keys up on slow lines.
_ESC_WAIT: Final = 0.06
#: Where in the settings of a terminal its local modes are.
_LOCAL_MODES: Final = 3


@contextmanager
def _whether_there() -> Iterator[None]:
    # Of a terminal that has gone away, the loop hears as soon as it reads.
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:
            raise


class EventLoop(urwid.SelectEventLoop):
    """The loop that has the keys of a display; it ends when the terminal goes away."""

    def run(self) -> None:
        # SIGHUP says so as well, but it may come later, or not at all.
        with suppress(InputClosedError):
            super().run()


class Display:
    """A terminal on which pictures are drawn, after `configure`, and from which keys come.

    `on_key` gets keys by their names in the table, `on_click` the button, column and row of
    a press.  `on_paste` gets pasted text as a whole: as keys it could do anything.
    `on_input` is called after each of these.
    """

    def __init__(
        self,
        loop: urwid.SelectEventLoop,
        *,
        colour: bool,
        on_key: Callable[[str], None],
        on_paste: Callable[[str], None],
        on_click: Callable[[int, int, int], None],
        on_input: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._on_key, self._on_paste = on_key, on_paste
        self._on_click, self._on_input = on_click, on_input
        self._screen = urwid.display.raw.Screen(bracketed_paste_mode=True, focus_reporting=False)
        self._screen.set_input_timeouts(complete_wait=_ESC_WAIT)
        if not colour:
            self._screen.set_terminal_properties(colors=1)
        elif self._screen.colors == 1:
            # The user wants colours where the environment says there are none.
            self._screen.set_terminal_properties(colors=16)
        self._glyphs = UNICODE
        self._drawn: Any = None
        self._pasting: list[str] | None = None

    def configure(self, options: TopOptions) -> None:
        """Take colours and characters, and whether the mouse is reported, from the options."""
        self._glyphs = ASCII if options.ascii else UNICODE
        urwid.set_encoding("ascii" if options.ascii else "utf-8")
        looks = palette(options.theme if options.colour else "mono", options.colours)
        self._screen.register_palette([*looks, *on_cursor(looks)])
        self._screen.set_mouse_tracking(options.mouse)
        self._screen.flush()
        self.redraw()

    def start(self) -> None:
        self._screen.start()
        self._take_ctrl_z()
        self._screen.hook_event_loop(self._loop, self._take)

    def stop(self) -> None:
        """Give the terminal back as it was; idempotent."""
        if self._screen.started:
            self._screen.unhook_event_loop(self._loop)
            self._screen.stop()

    def suspend(self) -> None:
        """Stop the process as ctrl-z does; the screen comes back when it is continued."""
        self.stop()
        # The whole group, as the terminal would.  The shell waits for the boot loader of a
        # single-file binary, which must stop with this process.
        os.kill(0, signal.SIGTSTP)
        self.start()
        self.redraw()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Give the terminal to another program meanwhile, which has ctrl-c for itself."""
        self.stop()
        # In the program it has its usual meaning again.
        before = install({signal.SIGINT: lambda _number, _frame: None})
        descriptor: int | None = self._screen._input_fileno()  # noqa: SLF001  (no public name)
        is_terminal = descriptor is not None and os.isatty(descriptor)
        modes = termios.tcgetattr(descriptor) if is_terminal and descriptor is not None else None
        try:
            yield
        finally:
            if modes is not None and descriptor is not None:
                # What was typed meanwhile is not meant for the screen.
                termios.tcsetattr(descriptor, termios.TCSAFLUSH, modes)
            put_back(before)
            self.start()
            self.redraw()

    def _take_ctrl_z(self) -> int:
        # Were it not a key but the terminal's, it would stop the whole group at once, and the
        # shell would have the terminal before it has been given back.
        descriptor: int | None = self._screen._input_fileno()  # noqa: SLF001  (no public name)
        if descriptor is None or not os.isatty(descriptor):
            return 0
        modes: int = termios.tcgetattr(descriptor)[_LOCAL_MODES]
        self._screen.tty_signal_keys(susp="undefined", fileno=descriptor)
        return modes

    def resume(self) -> None:
        """Prepare the terminal again after the process was stopped.

        After a ctrl-z urwid has done so already; before a SIGSTOP the terminal was not
        given back, and anybody may have had it since.
        """
        if self._screen.started:
            # Shells leave a terminal that waits for Enter.
            if self._take_ctrl_z() & termios.ICANON:
                self.stop()
                self.start()
            self.redraw()

    def size(self) -> tuple[int, int]:
        cols, rows = self._screen.get_cols_rows()
        return max(1, cols), max(1, rows)

    def draw(self, lines: Sequence[Line], size: tuple[int, int], cursor: Cursor) -> None:
        """Show a picture; only the rows that differ are written."""
        picture = (list(lines), size, cursor, self._glyphs)
        if picture != self._drawn and self._screen.started:
            with _whether_there():
                self._screen.draw_screen(size, paint(lines, size, self._glyphs, cursor))
            self._drawn = picture

    def redraw(self) -> None:
        """Write everything anew with the next picture."""
        self._drawn = None
        self._screen.clear()

    def send(self, sequence: str) -> None:
        with _whether_there():
            self._screen.write(sequence)
            self._screen.flush()

    def _take(self, keys: list[Any], _raw: list[int]) -> None:
        for key in keys:
            if not isinstance(key, str):
                if key[0] == "mouse press":
                    self._on_click(*key[1:])
            elif key == "window resize":
                self._drawn = None
            elif key == "begin paste":
                self._pasting = []
            elif key == "end paste":
                pasted, self._pasting = self._pasting or [], None
                self._on_paste("".join(pasted))
            elif self._pasting is not None:
                self._pasting.append(key if len(key) == 1 else " ")
            elif (name := canonical(key)) == "ctrl-z":
                self.suspend()  # wherever it is typed
            else:
                self._on_key(name)
        self._on_input()


#: A second SIGINT this soon is the first one seen twice (see evtools.signals).
_SAME_KEY_PRESS: Final = 0.3
_INTERRUPTED: Final = 130


class Signals(EndingSignals):
    """Turn signals into flags that the loop of the screen looks at.

    INT is a ctrl-c, which means what the key means at that moment; TERM and HUP end; after
    CONT another program may have had the terminal.  `wake` is called in the handler.  When
    a second INT finds the first one unseen, the loop hangs: `give_up` restores the
    terminal, and the process ends at once with status 130.
    """

    def __init__(self, wake: Callable[[], None], give_up: Callable[[], None], clock: Clock) -> None:
        super().__init__(wake, clock)
        self._give_up = give_up
        self._continued = False
        self.handlers |= {signal.SIGHUP: self.end, signal.SIGCONT: self._continue}

    def __enter__(self) -> Self:
        super().__enter__()
        # A process that was stopped for changing the terminal from the background goes on
        # with that, without an error that says it was interrupted.
        signal.siginterrupt(signal.SIGCONT, False)  # noqa: FBT003  (C's signature)
        return self

    def interrupted(self) -> bool:
        """Return whether there was an INT since this was last asked."""
        seen, self._interrupted_at = self._interrupted_at is not None, None
        return seen

    def continued(self) -> bool:
        """Return whether there was a CONT since the last time this was asked."""
        seen, self._continued = self._continued, False
        return seen

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        now = self._clock.monotonic()
        if self._interrupted_at is None:
            self._interrupted_at = now
            self._end()
        elif now - self._interrupted_at > _SAME_KEY_PRESS:
            self._give_up()
            os._exit(_INTERRUPTED)

    def _continue(self, _number: int, _frame: FrameType | None) -> None:
        self._continued = True
        self._end()
