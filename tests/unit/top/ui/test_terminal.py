"""The terminal: a display on a pseudo terminal, the loop, signals to this very process."""

import base64
import os
import signal
import termios
import threading
import time

import pytest
import urwid

from evtools.clock import SystemClock
from evtools.top.ui.terminal import (
    COPY_BYTES_MAX,
    REDRAWS_MAX,
    Display,
    Loop,
    Signals,
    copy_sequence,
    paint,
)
from evtools.top.ui.theme import ASCII, UNICODE
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
        self.loop = urwid.SelectEventLoop()
        self.calls = []
        self.display = Display(
            self.loop,
            UNICODE,
            theme="dark",
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
    watched.display.set_glyphs(ASCII)
    watched.draw("Größe")
    terminal.read()
    assert terminal.screen.display[0].rstrip() == "Gr??e"
    watched.display.set_glyphs(UNICODE)
    terminal.forget()
    watched.display.send("\x1b]52;c;eA==\x07")
    assert terminal.read() == b"\x1b]52;c;eA==\x07"
    watched.display.set_mouse(on=True)
    assert b"\x1b[?1000h" in terminal.read()
    watched.display.set_mouse(on=False)
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
    watched.display.set_theme(theme)
    watched.draw("", "FAIL")
    assert written in terminal.read()
    watched.display.stop()


def test_a_canvas_has_the_size_it_is_asked_for():
    lines = [[("head", "abc"), ("text", "defgh")], [("text", "中")]]
    canvas = paint(lines, (5, 3), UNICODE, (1, 2))
    assert list(canvas.decoded_text) == ["abcde", "中   ", "     "]
    assert (canvas.cols(), canvas.rows(), canvas.cursor) == (5, 3, (1, 2))
    assert [(style, text) for style, _, text in next(iter(canvas.content()))] == [
        ("head", b"abc"), ("text", b"de"),
    ]  # fmt: skip
    assert paint([[("text", "größe 中")]], (8, 1), ASCII).text == [b"gr??e ??"]


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
    watched.display.set_mouse(on=True)
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
    watched.display.set_mouse(on=True)
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


# --- the loop ---------------------------------------------------------------------------


class FakeLoop(Loop):
    """A loop whose work logs its calls, and ends after some of them."""

    def __init__(self, clock=None, *, slices=1, end_after="draw"):
        super().__init__(clock or SystemClock())
        self.log = []
        self.slices = slices
        self.end_after = end_after

    def _note(self, call):
        self.log.append(call)
        if call == self.end_after:
            self.end()

    def take_slice(self):
        self.slices -= 1
        self._note("slice" if self.slices else "last slice")
        return self.slices > 0

    def woken(self):
        self._note("woken")

    def refresh(self):
        self._note("refresh")
        for _ in range(5):
            self.draw_soon()
        return 60.0

    def draw(self):
        self._note("draw")

    def logged(self, *calls):
        return [call for call in self.log if call in calls]


@pytest.fixture
def make():
    """Make a loop; it is closed after the test."""
    loops = []

    def one(*args, **how):
        loops.append(FakeLoop(*args, **how))
        return loops[-1]

    yield one
    for loop in loops:
        loop.close()
        loop.wake()  # does nothing any more


def test_the_loop_begins_with_a_picture_and_draws_once_for_all_changes(make):
    loop = make()
    loop.run()
    assert loop.log == ["refresh", "draw"]


def test_the_loop_is_woken_from_another_thread_and_takes_slice_after_slice(make):
    loop = make(slices=3, end_after="last slice")

    def wake():
        for _ in range(100_000):  # a full pipe holds up no thread, and many wakes are one
            loop.wake()

    thread = threading.Thread(target=wake)
    thread.start()
    thread.join()
    loop.run()
    assert loop.logged("woken", "slice", "last slice")[0] == "woken"
    assert loop.logged("slice", "last slice") == ["slice", "slice", "last slice"]
    assert len(loop.logged("woken")) < 100


def test_keys_come_between_two_slices(make):
    keyboard, terminal = os.pipe()
    loop = make(slices=3, end_after="last slice")

    def key():
        os.read(keyboard, 1)
        loop.log.append("key")

    loop.events.watch_file(keyboard, key)
    take = loop.take_slice

    def take_slice():
        more = take()
        if loop.slices == 2:
            os.write(terminal, b"x")
        return more

    loop.take_slice = take_slice
    loop.wake()
    loop.run()
    os.close(keyboard)
    os.close(terminal)
    assert loop.logged("slice", "key", "last slice") == ["slice", "key", "slice", "last slice"]


def test_work_that_is_left_does_not_wait_as_events_do(make):
    loop = make(end_after="nothing")

    def go_on():
        loop.wake()
        loop._woken()
        loop.work_on()
        loop.events.alarm(0.001, lambda: loop.log.append("later"))

    def take_slice():
        loop.log.append("slice")
        if loop.log.count("slice") == 2:
            loop.end()
        else:
            loop.events.alarm(0, go_on)
        return False

    loop.take_slice = take_slice
    loop.wake()
    loop.run()
    assert loop.logged("slice", "later") == ["slice"] * 2


def test_work_is_done_later_and_drawn_or_called_off(make):
    loop = make(end_after="nothing")
    done = []

    def ring():
        done.append("rang")
        loop.later(0.01, loop.end)

    call_off = loop.later(0.001, lambda: done.append("never"))
    loop.later(0.002, ring)
    call_off()
    loop.run()
    assert done == ["rang"]
    assert loop.logged("draw")


def test_no_more_pictures_than_allowed_in_any_second_and_answers_to_keys_before_others(make):
    clock = FakeClock(0.0)
    loop = make(clock, end_after="nothing")
    drawn = []
    while clock.now < 10:
        loop.draw_soon(answer=True)
        clock.now = loop._draws_at + 1e-9
        loop._draw()
        drawn.append(clock.now)
    assert len(drawn) > 70
    for start in drawn:
        assert sum(start <= moment < start + 1 for moment in drawn) <= REDRAWS_MAX
    # After a pause the first ones are not kept waiting.
    clock.now += 100
    waits = []
    for _ in range(4):
        loop.draw_soon()
        others = loop._draws_at
        loop.draw_soon(answer=True)
        waits.append((loop._draws_at - clock.now, others - clock.now))
        loop._draw()
    gap = pytest.approx(1 / 7)
    assert [answer for answer, _ in waits] == [0, 0, 0, gap]
    assert [other for _, other in waits[:2]] == [0, gap]


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
