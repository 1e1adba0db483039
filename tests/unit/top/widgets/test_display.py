"""A display on a pseudo terminal that the test reads and types on."""

import os
import signal
import sys
import termios
import time

import pytest
import urwid

from evtools.top.glyphs import ASCII, UNICODE
from evtools.top.widgets.display import Display
from tools.screen import PtyTerminal

SIZE = (40, 5)
DEADLINE = 10.0


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    made = PtyTerminal(SIZE, monkeypatch)
    yield made
    made.close()


class Watched:
    """A display, and what it has told of."""

    def __init__(self, **how):
        self.loop = urwid.SelectEventLoop()
        how = {"theme": "dark", "colour": True, "glyphs": UNICODE, **how}
        self.display = Display(self.loop, how.pop("glyphs"), **how)
        self.told = []
        self.display.on_key = self.told.append
        self.display.on_paste = lambda text: self.told.append(("paste", text))
        self.display.on_click = lambda *spot: self.told.append(("click", *spot))
        self.display.on_input = lambda: self.told.append("input")

    def wait(self, *wanted):
        """Run the loop until the display has told what is wanted."""
        end = time.monotonic() + DEADLINE

        def look():
            if [one for one in self.told if one != "input"] == list(wanted):
                raise urwid.ExitMainLoop
            assert time.monotonic() < end, self.told
            self.loop.alarm(0.005, look)

        self.loop.alarm(0, look)
        self.loop.run()


@pytest.fixture
def watched(terminal):
    made = Watched()
    made.display.start()
    yield made
    made.display.stop()


def draw(display, *texts, cursor=None):
    lines = [[("failure" if n else "text", text)] for n, text in enumerate(texts)]
    display.draw(lines, SIZE, cursor)


# --- out --------------------------------------------------------------------------


def test_a_picture_is_shown(terminal, watched):
    draw(watched.display, "first", "zweite Größe", cursor=(3, 1))
    terminal.read()
    assert [line.rstrip() for line in terminal.screen.display[:2]] == ["first", "zweite Größe"]
    assert (terminal.screen.cursor.x, terminal.screen.cursor.y) == (3, 1)
    assert terminal.screen.buffer[1][0].bold


def test_only_what_differs_is_written(terminal, watched):
    draw(watched.display, "first", "second")
    terminal.forget()
    draw(watched.display, "first", "second")
    assert terminal.read() == b""
    draw(watched.display, "first", "changed")
    written = terminal.read()
    assert b"changed" in written
    assert b"first" not in written


def test_everything_is_written_again_on_request(terminal, watched):
    draw(watched.display, "first")
    watched.display.redraw()
    terminal.forget()
    draw(watched.display, "first")
    assert b"first" in terminal.read()


def test_other_characters_are_used_at_once(terminal, watched):
    draw(watched.display, "Größe")
    watched.display.set_glyphs(ASCII)
    draw(watched.display, "Größe")
    terminal.read()
    assert terminal.screen.display[0].rstrip() == "Gr??e"
    watched.display.set_glyphs(UNICODE)


def test_sequences_are_written_as_they_are(terminal, watched):
    terminal.forget()
    watched.display.send("\x1b]52;c;eA==\x07")
    assert terminal.read() == b"\x1b]52;c;eA==\x07"


def test_the_mouse_is_asked_for_and_left_alone_again(terminal, watched):
    terminal.forget()
    watched.display.set_mouse(on=True)
    assert b"\x1b[?1000h" in terminal.read()
    watched.display.set_mouse(on=False)
    assert b"\x1b[?1000l" in terminal.read()


def test_colours_are_those_of_the_theme(terminal):
    watched = Watched()
    watched.display.start()
    draw(watched.display, "", "FAIL")
    assert b"\x1b[0;91;1;49m" in terminal.read()
    watched.display.set_theme("light")
    draw(watched.display, "x", "FAIL")
    assert b"\x1b[0;31;1;49m" in terminal.read()
    watched.display.stop()


def test_without_colours_there_are_none(terminal):
    watched = Watched(colour=False)
    watched.display.start()
    terminal.forget()
    draw(watched.display, "", "FAIL")
    written = terminal.read()
    assert b"FAIL" in written
    assert b";91" not in written
    assert b";31" not in written
    watched.display.stop()


def test_colours_that_the_user_wants_overrule_the_environment(terminal, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    watched = Watched(colour=True)
    watched.display.start()
    terminal.forget()
    draw(watched.display, "", "FAIL")
    assert b";91" in terminal.read() or b"31" in terminal.read()
    watched.display.stop()


# --- start and end ----------------------------------------------------------------


def test_the_terminal_is_given_back_as_it_was(terminal):
    before = termios.tcgetattr(terminal.theirs)
    watched = Watched()
    watched.display.start()
    watched.display.set_mouse(on=True)
    assert termios.tcgetattr(terminal.theirs) != before
    draw(watched.display, "x")
    terminal.forget()
    watched.display.stop()
    written = terminal.read()
    assert termios.tcgetattr(terminal.theirs) == before
    for off in (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?2004l", b"\x1b[?1000l"):
        assert off in written
    watched.display.stop()
    assert terminal.read() == written


def test_nothing_is_drawn_on_a_terminal_that_is_not_ours(terminal):
    watched = Watched()
    draw(watched.display, "x")
    assert terminal.read() == b""


def test_the_size_is_that_of_the_terminal(watched):
    assert watched.display.size() == SIZE


# --- in ---------------------------------------------------------------------------


def test_keys_are_told_by_their_names_in_the_table(terminal, watched):
    terminal.type("a \x1b[A\x06\r中")
    watched.wait("a", "space", "up", "ctrl-f", "enter", "中")
    assert watched.told[-1] == "input"


def test_a_lone_escape_is_a_key(terminal, watched):
    terminal.type("\x1b")
    watched.wait("esc")


def test_what_is_pasted_is_told_as_one_text(terminal, watched):
    terminal.type("\x1b[200~C y\rz\x1b[201~q")
    watched.wait(("paste", "C y z"), "q")


def test_presses_of_the_mouse_are_told_with_their_place(terminal, watched):
    watched.display.set_mouse(on=True)
    terminal.type("\x1b[<0;12;3M\x1b[<0;12;3m")
    watched.wait(("click", 1, 11, 2))


def test_a_new_size_has_everything_drawn_again(terminal, watched):
    draw(watched.display, "first")
    termios.tcsetwinsize(terminal.theirs, (4, 30))
    signal.raise_signal(signal.SIGWINCH)
    watched.loop.alarm(0.05, lambda: (_ for _ in ()).throw(urwid.ExitMainLoop))
    watched.loop.run()
    assert watched.told == ["input"]
    assert watched.display.size() == (30, 4)
    terminal.forget()
    watched.display.draw([[("text", "first")]], (30, 4), None)
    assert b"first" in terminal.read()


def test_the_terminal_is_given_back_before_all_of_us_stop(terminal, watched, monkeypatch):
    sent = []

    def kill(*what):
        sent.append((*what, bool(local_modes(terminal) & termios.ICANON)))

    monkeypatch.setattr(os, "kill", kill)
    watched.display.suspend()
    assert sent == [(0, signal.SIGTSTP, True)]
    assert not local_modes(terminal) & termios.ICANON


def test_ctrl_z_is_ours_wherever_it_is_typed(terminal, watched, monkeypatch):
    monkeypatch.setattr(os, "kill", lambda *_: watched.told.append("stopped"))
    terminal.type("\x1ax")
    watched.wait("stopped", "x")
    terminal.type("\x1b[200~a\x1ab\x1b[201~")
    watched.wait("stopped", "x", ("paste", "a b"))


def local_modes(terminal):
    return termios.tcgetattr(terminal.theirs)[3]


def test_a_terminal_that_somebody_else_had_is_taken_again(terminal, watched):
    draw(watched.display, "first")
    terminal.forget()
    cooked = termios.tcgetattr(terminal.theirs)
    cooked[3] |= termios.ICANON | termios.ECHO
    termios.tcsetattr(terminal.theirs, termios.TCSANOW, cooked)
    watched.display.resume()
    assert not local_modes(terminal) & (termios.ICANON | termios.ECHO)
    draw(watched.display, "first")
    assert b"first" in terminal.read()
    terminal.type("j")
    watched.wait("j")


def test_a_terminal_that_is_still_ours_loses_no_key(terminal, watched):
    draw(watched.display, "first")
    terminal.forget()
    terminal.type("j")
    watched.display.resume()
    draw(watched.display, "first")
    assert b"first" in terminal.read()
    watched.wait("j")


def test_a_display_that_was_not_started_takes_nothing(terminal):
    display = Watched().display
    display.resume()
    assert local_modes(terminal) & termios.ICANON


def test_what_nobody_listens_to_is_dropped(terminal):
    display = Display(urwid.SelectEventLoop(), UNICODE, theme="dark", colour=sys.stdout is not None)
    display._take(["a", ("mouse press", 1, 2, 3), "begin paste", "end paste"], [])
