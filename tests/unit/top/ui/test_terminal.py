"""The terminal: a display on a pseudo terminal, and signals to this very process."""

import base64
import os
import signal
import termios
import time

import pytest
import urwid

from evtools.top.options import TopOptions
from evtools.top.ui.terminal import COPY_BYTES_MAX, Display, EventLoop, Signals, copy_sequence
from tools.clock import FakeClock
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
    """A display, and its calls."""

    def __init__(self, *, colour=True):
        self.loop = EventLoop()
        self.calls = []
        self.display = Display(
            self.loop,
            colour=colour,
            on_key=self.calls.append,
            on_paste=lambda text: self.calls.append(("paste", text)),
            on_click=lambda *spot: self.calls.append(("click", *spot)),
            on_input=lambda: self.calls.append("input"),
        )

    def draw(self, *texts, cursor=None, size=SIZE):
        lines = [[("failure" if n else "text", text)] for n, text in enumerate(texts)]
        self.display.draw(lines, size, cursor)

    def wait(self, *wanted):
        """Run the loop until these calls have come."""
        end = time.monotonic() + DEADLINE

        def look():
            if [one for one in self.calls if one != "input"] == list(wanted):
                raise urwid.ExitMainLoop
            assert time.monotonic() < end, self.calls
            self.loop.alarm(0.005, look)

        self.loop.alarm(0, look)
        self.loop.run()


@pytest.fixture
def watched(terminal):
    made = Watched()
    made.display.start()
    made.display.configure(TopOptions())
    yield made
    made.display.stop()


def local_modes(terminal):
    return termios.tcgetattr(terminal.theirs)[3]


# --- out --------------------------------------------------------------------------------


def test_a_picture_is_shown_and_only_its_changes_are_written(terminal, watched):
    watched.draw("first", "zweite Größe", cursor=(3, 1))
    terminal.read()
    assert [line.rstrip() for line in terminal.screen.display[:2]] == ["first", "zweite Größe"]
    assert (terminal.screen.cursor.x, terminal.screen.cursor.y) == (3, 1)
    assert terminal.screen.buffer[1][0].bold
    terminal.forget()
    watched.draw("first", "zweite Größe", cursor=(3, 1))
    assert terminal.read() == b""
    watched.draw("first", "changed")
    assert b"changed" in terminal.read()
    assert b"first" not in terminal.read()
    watched.display.redraw()
    watched.draw("first", "changed")
    assert b"first" in terminal.read()


def test_characters_sequences_and_the_mouse_are_switched_at_once(terminal, watched):
    watched.draw("Größe")
    watched.display.configure(TopOptions(ascii=True))
    watched.draw("Größe")
    terminal.read()
    assert terminal.screen.display[0].rstrip() == "Gr??e"
    watched.display.configure(TopOptions())
    terminal.forget()
    watched.display.send("\x1b]52;c;eA==\x07")
    assert terminal.read() == b"\x1b]52;c;eA==\x07"
    watched.display.configure(TopOptions(mouse=True))
    assert b"\x1b[?1000h" in terminal.read()
    watched.display.configure(TopOptions())
    assert b"\x1b[?1000l" in terminal.read()


@pytest.mark.parametrize(
    ("colour", "environ", "theme", "written"),
    [
        (True,  {},                "dark",  b"\x1b[0;91;1;49m"),
        (True,  {},                "light", b"\x1b[0;31;1;49m"),
        (False, {},                "light", b"\x1b[0;39;1;49m"),
        # The user wants colours where the environment says there are none.
        (True,  {"NO_COLOR": "1"}, "light", b"\x1b[0;31;1;49m"),
    ],
)  # fmt: skip
def test_colours_are_those_of_the_theme(terminal, monkeypatch, colour, environ, theme, written):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    watched = Watched(colour=colour)
    watched.draw("", "not shown before the start")
    assert terminal.read() == b""
    watched.display.start()
    watched.display.configure(TopOptions(theme=theme, colour=colour))
    watched.draw("", "FAIL")
    assert written in terminal.read()
    watched.display.stop()


def test_a_copy_is_what_osc_52_says():
    sequence = copy_sequence("7a8b8d37 ü")
    assert (sequence[:7], sequence[-1]) == ("\x1b]52;c;", "\x07")
    assert base64.b64decode(sequence[7:-1]).decode() == "7a8b8d37 ü"
    assert copy_sequence("\udc80")
    assert copy_sequence("x" * (COPY_BYTES_MAX * 3 // 4 - 3))
    assert copy_sequence("x" * COPY_BYTES_MAX) == ""


# --- in ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "calls"),
    [
        ("a \x1b[A\x06\r中", ("a", "space", "up", "ctrl-f", "enter", "中")),
        ("\x1b", ("esc",)),
        ("\x1b[200~C y\rz\x1b[201~q", (("paste", "C y z"), "q")),
        ("\x1b[<0;12;3M\x1b[<0;12;3m", (("click", 1, 11, 2),)),
        # ctrl-z is a key wherever it is typed.
        ("\x1ax", ("stopped", "x")),
        ("\x1b[200~a\x1ab\x1b[201~", (("paste", "a b"),)),
    ],
)
def test_input_is_handed_on(terminal, watched, monkeypatch, typed, calls):
    monkeypatch.setattr(os, "kill", lambda *_: watched.calls.append("stopped"))
    watched.display.configure(TopOptions(mouse=True))
    terminal.type(typed)
    watched.wait(*calls)
    assert watched.calls[-1] == "input"


def test_a_new_size_has_everything_drawn_again(terminal, watched):
    watched.draw("first")
    termios.tcsetwinsize(terminal.theirs, (4, 30))
    signal.raise_signal(signal.SIGWINCH)
    watched.loop.alarm(0.05, lambda: (_ for _ in ()).throw(urwid.ExitMainLoop))
    watched.loop.run()
    assert watched.calls == ["input"]
    assert watched.display.size() == (30, 4)
    terminal.forget()
    watched.draw("first", size=(30, 4))
    assert b"first" in terminal.read()


# --- start, stop, suspend ---------------------------------------------------------------


def test_the_terminal_is_given_back_as_it_was(terminal):
    before = termios.tcgetattr(terminal.theirs)
    watched = Watched()
    watched.display.resume()  # nothing to take again
    assert termios.tcgetattr(terminal.theirs) == before
    watched.display.start()
    watched.display.configure(TopOptions(mouse=True))
    assert termios.tcgetattr(terminal.theirs) != before
    watched.draw("x")
    terminal.forget()
    watched.display.stop()
    written = terminal.read()
    assert termios.tcgetattr(terminal.theirs) == before
    for off in (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?2004l", b"\x1b[?1000l"):
        assert off in written
    watched.display.stop()
    assert terminal.read() == written


def test_a_terminal_that_goes_away_ends_the_loop(terminal, watched):
    watched.draw("first")
    terminal.hang_up()
    watched.draw("second")
    watched.display.send("\a")
    watched.loop.alarm(DEADLINE, lambda: pytest.fail("the loop goes on"))
    watched.loop.run()
    watched.display.stop()


@pytest.mark.parametrize("lost", [True, False])
def test_the_terminal_is_prepared_again_after_a_stop_and_no_key_is_lost(terminal, watched, lost):
    watched.draw("first")
    terminal.forget()
    if lost:
        cooked = termios.tcgetattr(terminal.theirs)
        cooked[3] |= termios.ICANON | termios.ECHO
        termios.tcsetattr(terminal.theirs, termios.TCSANOW, cooked)
        watched.display.resume()
    terminal.type("j")
    if not lost:
        watched.display.resume()
    assert not local_modes(terminal) & (termios.ICANON | termios.ECHO)
    watched.draw("first")
    assert b"first" in terminal.read()
    watched.wait("j")


# --- signals ----------------------------------------------------------------------------


@pytest.fixture
def calls():
    return []


@pytest.fixture
def signals(calls):
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with Signals(
        lambda: calls.append("wake"), lambda: calls.append("give up"), FakeClock()
    ) as made:
        assert signal.getsignal(signal.SIGINT) not in before
        yield made
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.mark.parametrize(
    ("number", "seen"), [(signal.SIGCONT, "continued"), (signal.SIGINT, "interrupted")]
)
def test_cont_and_int_are_seen_once(signals, calls, number, seen):
    assert not getattr(signals, seen)()
    signal.raise_signal(number)
    signal.raise_signal(number)  # an INT is the same key press seen twice
    assert getattr(signals, seen)()
    assert not getattr(signals, seen)()
    assert not signals.ending
    assert "give up" not in calls


def test_a_second_int_ends_a_loop_that_hangs_after_the_terminal_is_restored(
    signals, calls, monkeypatch
):
    monkeypatch.setattr(os, "_exit", calls.append)
    signal.raise_signal(signal.SIGINT)
    signals._clock.now += 1
    signal.raise_signal(signal.SIGINT)
    assert calls == ["wake", "give up", 130]
