"""The terminal: a display on a pseudo terminal, the loop, signals to this very process."""

import base64
import os
import signal
import subprocess
import sys
import termios
import textwrap
import threading
import time

import pytest
import urwid

from evtools.clock import SystemClock
from evtools.top.ui.terminal import (
    COPY_BYTES_MAX,
    REDRAWS_MAX,
    Bucket,
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


# --- in ---------------------------------------------------------------------------


def test_keys_are_told_by_their_names_in_the_table(terminal, watched):
    terminal.type("a \x1b[A\x06\r中")
    watched.wait("a", "space", "up", "ctrl-f", "enter", "中")
    assert watched.calls[-1] == "input"


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
    assert watched.calls == ["input"]
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
    monkeypatch.setattr(os, "kill", lambda *_: watched.calls.append("stopped"))
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


# --- the loop -------------------------------------------------------------------------


class FakeLoop(Loop):
    """A loop whose work logs its calls, and ends after some of them."""

    def __init__(self, clock=None, *, slices=1, end_after="draw"):
        super().__init__(clock or SystemClock())
        self.log = []
        self.slices = slices
        self.end_after = end_after
        self.next_refresh = 60.0

    def _note(self, what):
        self.log.append(what)
        if what == self.end_after:
            self.end()

    def take_slice(self):
        self.slices -= 1
        self._note("slice" if self.slices else "last slice")
        return self.slices > 0

    def woken(self):
        self._note("woken")

    def refresh(self):
        self._note("refresh")
        self.draw_soon()
        return self.next_refresh

    def draw(self):
        self._note("draw")


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


def test_it_begins_with_a_picture(make):
    loop = make()
    loop.run()
    assert loop.log == ["refresh", "draw"]


def test_it_is_woken_from_another_thread_and_takes_slice_after_slice(make):
    loop = make(slices=3, end_after="last slice")
    thread = threading.Thread(target=loop.wake)
    thread.start()
    loop.run()
    thread.join()
    assert [entry for entry in loop.log if entry not in ("refresh", "draw")] == [
        "woken",
        "slice",
        "slice",
        "last slice",
    ]


def test_many_wakes_are_one(make):
    loop = make(end_after="last slice")
    for _ in range(1000):
        loop.wake()
    loop.run()
    assert loop.log.count("woken") == 1


def test_work_that_is_left_does_not_wait_as_events_do(make):
    loop = make(end_after="nothing")

    def go_on():
        loop._drain_soon()
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
    assert [entry for entry in loop.log if entry in ("slice", "later")] == ["slice"] * 2


def test_a_full_pipe_holds_up_no_thread(make):
    loop = make()
    for _ in range(100_000):
        loop.wake()


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
    entries = [entry for entry in loop.log if entry in ("slice", "key", "last slice")]
    assert entries == ["slice", "key", "slice", "last slice"]


def test_pictures_that_are_due_together_are_one(make):
    loop = make()
    for _ in range(5):
        loop.draw_soon()
    loop.run()
    assert loop.log.count("draw") == 1


def test_an_answer_to_a_key_comes_before_everything_else(make):
    loop = make(FakeClock())
    loop._bucket.take()
    loop.draw_soon()
    late = loop._draws_at
    loop.draw_soon(answer=True)
    soon = loop._draws_at
    loop.draw_soon()
    assert loop._draws_at == soon < late


def test_it_refreshes_again_and_again(make):
    loop = make(end_after="third")
    times = []

    def refresh():
        times.append(1)
        if len(times) == 3:
            loop.end()
        return 0.001

    loop.refresh = refresh
    loop.run()
    assert len(times) == 3


def test_something_is_done_later_and_drawn_or_called_off(make):
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
    assert loop.log.count("draw") >= 1


def test_an_error_of_the_work_ends_the_loop(make):
    loop = make()

    def refresh():
        raise ValueError("broken")

    loop.refresh = refresh
    with pytest.raises(ValueError, match="broken"):
        loop.run()


def test_a_loop_that_is_closed_can_still_be_woken():
    loop = FakeLoop()
    loop.close()
    loop.wake()


# --- the bucket -------------------------------------------------------------------


def test_no_more_pictures_than_allowed_in_any_second():
    clock = FakeClock(0.0)
    bucket = Bucket(clock, REDRAWS_MAX - 2, 2)
    drawn = []
    while clock.now < 10:
        clock.now += bucket.wait() + 1e-9
        bucket.take()
        drawn.append(clock.now)
    for start in drawn:
        assert sum(start <= moment < start + 1 for moment in drawn) <= REDRAWS_MAX
    assert len(drawn) > 70


def test_the_picture_after_a_pause_is_not_kept_waiting():
    clock = FakeClock(0.0)
    bucket = Bucket(clock, 8, 2)
    assert bucket.wait() == 0
    bucket.take()
    assert bucket.wait() == 0
    bucket.take()
    assert bucket.wait() == pytest.approx(0.125)
    clock.now += 100
    assert bucket.wait() == 0


# --- canvases -------------------------------------------------------------------------


def test_a_canvas_has_the_size_it_is_asked_for():
    lines = [[("head", "abc"), ("text", "defgh")], [("text", "中")]]
    canvas = paint(lines, (5, 3), UNICODE, (1, 2))
    assert list(canvas.decoded_text) == ["abcde", "中   ", "     "]
    assert (canvas.cols(), canvas.rows(), canvas.cursor) == (5, 3, (1, 2))
    rows = list(canvas.content())
    assert [(style, text) for style, _, text in rows[0]] == [("head", b"abc"), ("text", b"de")]
    assert paint(lines, (1, 1), UNICODE).text == [b"a"]
    assert paint([[("text", "größe 中")]], (8, 1), ASCII).text == [b"gr??e ??"]


# --- the clipboard ---------------------------------------------------------------------


def test_a_copy_is_what_osc_52_says():
    sequence = copy_sequence("7a8b8d37 ü")
    assert sequence.startswith("\x1b]52;c;")
    assert sequence.endswith("\x07")
    assert base64.b64decode(sequence[7:-1]).decode() == "7a8b8d37 ü"


def test_what_terminals_do_not_take_is_not_sent():
    assert copy_sequence("x" * COPY_BYTES_MAX) == ""
    assert copy_sequence("x" * (COPY_BYTES_MAX * 3 // 4 - 3))


def test_a_lone_surrogate_can_be_copied():
    assert copy_sequence("\udc80")


@pytest.fixture
def calls():
    return []


@pytest.fixture
def signals(calls):
    made = Signals(lambda: calls.append("wake"), lambda: calls.append("give up"), FakeClock())
    with made:
        yield made


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_term_and_hup_end(signals, calls, number):
    signal.raise_signal(number)
    assert signals.ending
    assert calls == ["wake"]


def test_after_a_stop_somebody_has_to_look_after_the_terminal_once(signals, calls):
    assert not signals.continued()
    signal.raise_signal(signal.SIGCONT)
    assert signals.continued()
    assert not signals.continued()
    assert calls == ["wake"]


def test_int_is_a_key_that_is_seen_once(signals, calls):
    assert not signals.interrupted()
    signal.raise_signal(signal.SIGINT)
    assert not signals.ending
    assert signals.interrupted()
    assert not signals.interrupted()
    assert calls == ["wake"]


def test_the_same_key_press_may_be_seen_twice(signals, calls):
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)
    assert calls == ["wake"]


def test_a_second_int_ends_a_loop_that_hangs_after_the_terminal_is_restored():
    code = """
        import signal
        from evtools.top.ui.terminal import Signals

        class Clock:
            now = 0.0
            def monotonic(self):
                self.now += 1
                return self.now

        with Signals(lambda: None, lambda: print("restored", flush=True), Clock()):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            print("still there")
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, check=False
    )
    assert ended.returncode == 130
    assert ended.stdout == b"restored\n"


def test_what_was_before_is_put_back(calls):
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with Signals(lambda: None, lambda: None, FakeClock()):
        assert signal.getsignal(signal.SIGINT) not in before
    assert [signal.getsignal(number) for number in numbers] == before
