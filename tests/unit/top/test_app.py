"""evtop in this process, on a pseudo terminal, over recordings."""

import gc
import logging
import os
import signal
import termios
import threading
import time
import weakref
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace

import pytest

from evtools.clock import SystemClock
from evtools.errors import FilterError, OutputError, UsageError
from evtools.rows import QueueFacts
from evtools.top import app, screen
from evtools.top.app import REDRAWS_MAX, Console, run
from evtools.top.feed import Ended
from evtools.top.options import SettingsFile, TopOptions
from evtools.transport import ConnectionSettings, Notice
from evtools.transport.queues import Depth, Plan
from evtools.wire import encode_line
from tools.clock import FakeClock
from tools.life import Life
from tools.screen import PtyTerminal
from tools.typed import events_of

SIZE = (100, 30)
DEADLINE = 15.0
SETTINGS = ConnectionSettings()


@pytest.fixture
def recording(tmp_path):
    """Return the path of a recording of twenty tasks."""
    life = Life()
    events = [life.beat()]
    for number in range(20):
        events += life.success(f"id{number:02}", "proj.add")
    events += life.failure("failed", "proj.charge")
    path = tmp_path / "tape.jsonl"
    path.write_bytes(b"".join(encode_line(event) + b"\n" for event in events))
    return str(path)


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.delenv("LC_ALL", raising=False)
    made = PtyTerminal(SIZE, monkeypatch)
    before = termios.tcgetattr(made.theirs)
    yield made
    # It is given back whatever happens.
    assert termios.tcgetattr(made.theirs) == before
    made.close()


@pytest.fixture
def log_file(tmp_path):
    """Return the path of a log that all goes into."""
    path = tmp_path / "evtop.log"
    handler = logging.FileHandler(path, delay=True)
    root = logging.getLogger()
    before, root.handlers[:] = list(root.handlers), [handler]
    yield path
    root.handlers[:] = before
    handler.close()


@pytest.fixture
def evtop(terminal, recording):
    """Return what makes an evtop that is about to replay the recording."""
    with ExitStack() as stack:

        def make(**options):
            how = {"read": (recording,), "speed": float("inf"), "refresh": 0.2, **options}
            return Played(terminal, TopOptions(**how), stack)

        yield make


class Played:
    """An evtop, and a script of what is typed when something is to be seen."""

    def __init__(self, terminal, options, stack):
        self.terminal = terminal
        self.console = Console(options, [SETTINGS], SystemClock(), stack)
        self.session = self.console.session

    def play(self, *script):
        """Run until the script is through: what to do, then a text or predicate to wait for.

        What to do is a text to type or a function to call; it begins when all is read.
        """
        steps = ["proj.charge", *script]
        end = time.monotonic() + DEADLINE

        def look():
            assert time.monotonic() < end, f"{steps[:1]} in\n{self.terminal.text}"
            wanted = steps[0]
            if wanted() if callable(wanted) else wanted in self.terminal.text:
                _, do = steps.pop(0), steps.pop(0)
                if callable(do):
                    do()
                else:
                    self.terminal.type(do)
            if steps:
                self.console.events.alarm(0.01, look)

        self.console.events.alarm(0, look)
        with self.console.signals:
            self.console.run()
        self.terminal.read()


# --- a whole run --------------------------------------------------------------------------


def test_it_shows_what_it_reads_and_gives_the_terminal_back(terminal, recording, monkeypatch):
    real_run = Console.run

    def run_and_leave(console):
        assert not gc.isenabled()
        console.later(0.3, console.end)
        real_run(console)

    monkeypatch.setattr(Console, "run", run_and_leave)
    assert run(TopOptions(read=(recording,), speed=float("inf")), [SETTINGS]) == 0
    assert b"\x1b[?1049l" in terminal.read()
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_another_profile_follows_with_what_was_chosen_by_keys(
    terminal, recording, monkeypatch, tmp_path
):
    options, shown, models = TopOptions(read=(recording,), speed=float("inf")), [], []
    # What is asked of the first view may make no sense in the one that is shown.
    others = {"window": "1h", "columns": ("state",), "filter": "state:ok", "write": "new.jsonl"}
    settings_file = SettingsFile(("eu",), lambda _: (replace(options, **others), [SETTINGS]))
    real_run, written = Console.run, tmp_path / "tape"

    def run_and_go_on(console):
        session = console.session
        shown.append((session.view, session.model.options.theme, session.model.options.window))
        models.append(weakref.ref(session.model))
        if len(shown) == 1:
            session.run("view workers")
            session.run("theme light")
            session.run(f"record {written}")

            def go_on_at_the_end():
                if session.model.clusters[""].intake.events < 85:
                    console.later(0.01, go_on_at_the_end)
                else:
                    session.run("ctx eu")

            console.later(0.01, go_on_at_the_end)
        else:
            # Nothing is kept of the clusters before, and their recording neither goes on nor anew.
            assert models[0]() is None
            assert session.message.text == (
                f"profile eu; the recording ended: 85 events in {written}"
            )
            assert session.feed.recording is None
            assert session.model.views["tasks"].filter_text == "state:ok"
            # What was chosen is not in the settings file yet.
            assert session._saved["evtop", "theme"] == "dark"
            console.later(0.1, console.end)
        real_run(console)

    monkeypatch.setattr(Console, "run", run_and_go_on)
    assert run(options, [SETTINGS], settings_file) == 0
    assert shown == [("tasks", "dark", "5m"), ("workers", "light", "1h")]
    assert len(written.read_bytes().splitlines()) == 85


def test_all_connections_are_closed_at_the_same_time(terminal, recording):
    met = threading.Barrier(2)
    with ExitStack() as stack:
        console = Console(TopOptions(read=(recording,)), [SETTINGS], SystemClock(), stack)
        console._closers += [lambda: met.wait(DEADLINE)] * 2
    assert not met.broken


def test_options_arrange_the_first_view_and_name_the_source(evtop, terminal):
    session = evtop(view="types", sort="name", columns=("name",)).session
    assert (session.view, session.table.sort_key) == ("types", "name")
    assert not session.can_act
    assert session.where.endswith("tape.jsonl")
    with ExitStack() as stack:
        for options, where in (
            ({"demo": True}, "demo"),
            ({"demo": True, "read_only": True}, "demo"),
            ({}, "redis://:**@host:6379/0"),
        ):
            settings = ConnectionSettings(urls="redis://:secret@host:6379/0")
            session = Console(TopOptions(**options), [settings], SystemClock(), stack).session
            assert session.where == where
            assert (not session.can_act) is options.get("read_only", False)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"filter": "state:nowhere"}, FilterError),
        ({"sort": "weight"}, UsageError),
        ({"keys": {"filter": "esc"}}, UsageError),
        ({"read": ("/nowhere/tape",)}, UsageError),
        ({"write": "/nowhere/tape"}, OutputError),
    ],
)
def test_errors_are_raised_before_the_terminal_is_touched(evtop, terminal, options, error):
    with pytest.raises(error):
        evtop(**options)
    assert terminal.read() == b""


def test_a_source_that_fails_ends_it_with_its_reason(evtop, tmp_path):
    bad = tmp_path / "bad"
    bad.write_text("no recording\n" * 200)
    with pytest.raises(UsageError, match="is no recording"):
        evtop(read=(str(bad),)).play("")


# --- signals ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_end_it(evtop, number):
    evtop().play(lambda: signal.raise_signal(number))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_while_it_closes_ends_it_no_sooner(
    terminal, recording, monkeypatch, strays, number
):
    options, closed = TopOptions(read=(recording,)), []

    def keep(history):
        signal.raise_signal(number)
        closed.append(history)

    monkeypatch.setattr(app.History, "keep", keep)
    real_run = Console.run

    def run_and_leave(console):
        console.later(0, console.end)
        real_run(console)

    monkeypatch.setattr(Console, "run", run_and_leave)
    assert run(options, [SETTINGS]) == 0
    assert len(closed) == 1
    assert strays == []


def test_a_signal_between_two_profiles_ends_it(terminal, recording, monkeypatch, strays):
    options, runs = TopOptions(read=(recording,)), []
    settings_file = SettingsFile(("eu",), lambda _: (options, [SETTINGS]))
    real_run = Console.run

    def run_and_go_on(console):
        runs.append(console)
        console.later(0, lambda: console.session.run("ctx eu" if len(runs) == 1 else "q!"))
        real_run(console)

    monkeypatch.setattr(Console, "run", run_and_go_on)
    monkeypatch.setattr(app.History, "keep", lambda _: signal.raise_signal(signal.SIGTERM))
    assert run(options, [SETTINGS], settings_file) == 0
    assert len(runs) == 1
    assert strays == []


def test_a_ctrl_c_leaves_a_prompt_first_and_later_keys_are_not_meant_for_it(evtop):
    played = evtop()
    played.play(
        "/abc",
        "filter> abc",
        lambda: (signal.raise_signal(signal.SIGINT), played.console._press("3")),
        "[3 Workers]",
        lambda: signal.raise_signal(signal.SIGINT),
    )
    assert played.session.model.views["tasks"].filter_text == ""


def test_keys_after_leaving_are_ignored(evtop):
    played = evtop()
    played.play("Q3")
    assert played.session.view == "tasks"


# --- internal errors ----------------------------------------------------------------------


def broken(*_args, **_how):
    raise ValueError("broken view")


def test_one_mistake_in_a_picture_becomes_a_message(evtop, monkeypatch, caplog):
    real, mistakes = screen.draw, [broken]

    def draw(*how):
        return (mistakes.pop() if mistakes else real)(*how)

    monkeypatch.setattr(screen, "draw", draw)
    evtop().play(lambda: None, "internal error (screen); ", "q")
    assert "broken view" in caplog.text


def test_a_mistake_in_a_key_closes_what_was_open(evtop, monkeypatch):
    played = evtop()
    monkeypatch.setattr(type(played.session.table), "toggle_mark", broken)
    closed = "?", "find>", "\x1b", lambda: played.session.layer is None
    answer = "2 of 2 workers replied"
    played.play(
        *(*closed, " ", "internal error (key)", "jz", "times: local"),
        lambda: played.session.say(answer),
        # It does not hide an answer, and can be read with the other messages.
        *(lambda: played.session.message.text == answer, " m", "internal error (key)", "qq"),
    )
    assert played.session.message.text == answer


def test_mistakes_over_events_are_reported_once_and_name_the_log(evtop, monkeypatch, log_file):
    played = evtop()
    model, calls = played.session.model, []

    def take(changes):
        calls.append(list(changes))
        broken()

    monkeypatch.setattr(model.clusters[""].statistics, "take", take)
    monkeypatch.setattr("evtools.top.feed.SLICE", 10)
    played.play(
        "",
        "internal error: some figures may be wrong; the traceback is in",
        "",
        lambda: (
            model.clusters[""].intake.events == 85 and len(model.clusters[""].state.tasks) == 21
        ),
        "q",
    )
    assert len(calls) > 2
    assert log_file.read_text().count("ValueError: broken view") == 1


def test_a_mistake_over_events_takes_no_answer_from_the_screen(evtop, monkeypatch):
    played = evtop()
    session = played.session
    monkeypatch.setattr(
        session.model.clusters[""].statistics, "take", lambda changes: broken(*changes)
    )
    session.say("2 of 2 workers replied")

    def age():
        session.clock = SimpleNamespace(monotonic=lambda: time.monotonic() + 11)

    def answered():
        return (
            "2 of 2 workers replied" in played.terminal.text
            and session.model.clusters[""].intake.events
        )

    played.play("", answered, age, "internal error: some figures may be wrong", "q")


# --- events and notices -------------------------------------------------------------------


def test_a_tape_that_was_wound_back_begins_anew(evtop):
    played = evtop()
    first = played.session.model
    played.play(
        ":filter proj.add\r",
        "20 of 21 shown",
        lambda: played.session.feed.source.seek(1001.0),
        lambda: played.session.model is not first,
        "q",
    )
    assert played.session.table.filter_text == "proj.add"
    assert played.session.model.options == first.options


def test_large_batches_are_taken_in_slices(evtop, monkeypatch):
    monkeypatch.setattr(app, "_SLICE", -1.0)
    played = evtop()
    played.play("q")
    assert played.session.model.views["tasks"].total == 21


def test_notices_and_the_end_of_the_source_are_shown(evtop):
    played = evtop()
    connection, feed = played.session.model.clusters[""].connection, played.session.feed
    assert connection.status == "live"  # a replay is no connection to wait for
    played.play(
        lambda: feed.put(Notice("lost", "reset by peer")),
        lambda: connection.status == "reconnecting",
        lambda: feed.put(Ended()),
        lambda: connection.status == "ended",
        "Q",
    )


def test_outcomes_of_actions_are_shown(evtop):
    played = evtop()
    outcomes = [
        SimpleNamespace(good=True, sentence=lambda: "2 of 2 workers replied"),
        SimpleNamespace(good=False, sentence=lambda: "1 of 2 workers replied"),
    ]
    control = SimpleNamespace(take=lambda: outcomes.pop(0) if outcomes else None)
    played.session.model.clusters[""].control = control
    played.play(played.console.wake, "1 of 2 workers replied", "q")
    assert played.session.message.style == "warning"


def test_the_broker_is_asked_only_about_what_is_shown_and_if_it_is_wanted(evtop):
    asked, plans = [], []
    played = evtop()
    options = played.session.model.options
    played.session.model.clusters[""].stats = SimpleNamespace(
        known=lambda: QueueFacts({"mail": Depth(7, 1)}),
        watch=lambda queues, **_: asked.append(tuple(queues)),
        plan=lambda: (Plan(), 0.0),
        watch_plan=lambda *, wanted: plans.append(wanted),
    )
    played.play(
        *("4b", "a recording has no broker to ask", lambda: setattr(options, "read", ())),
        *(lambda: ("mail",) in asked, "b", "asking the broker: off"),
        *(asked.clear, lambda: set(asked) == {()}, "b"),
        *(lambda: ("mail",) in asked, "1", lambda: asked[-1] == () and not any(plans), "2"),
        *(lambda: plans[-1], "1", lambda: not plans[-1], "q"),
    )


# --- the terminal -------------------------------------------------------------------------


def test_the_host_of_the_session_is_the_terminal(evtop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    played = evtop()
    suspended = []
    monkeypatch.setattr(os, "kill", lambda *what: suspended.append(what))
    played.play(
        ":theme light\r:ascii on\r",
        lambda: played.session.glyphs.ascii,
        "yxs",
        "screenshot in",
        "\x0c:suspend\r",
        lambda: suspended,
        "Q",
    )
    assert suspended == [(0, signal.SIGTSTP)]
    assert b"\x1b]52;c;" in played.terminal.read()
    (file,) = tmp_path.glob("evtop-tasks-*.txt")
    assert "proj.charge" in file.read_text()


def test_the_mouse_chooses_and_scrolls(evtop):
    played = evtop(mouse=True)
    table = played.session.table
    played.play(
        "",
        "MOUSE",
        "\x1b[<0;10;9M\x1b[<0;10;9m",
        lambda: table.focus_index > 0,
        "\x1b[<64;10;9M",
        lambda: table.focus_index == 2,
        "\x1b[<0;10;30M\x1b[<65;10;9M",
        lambda: table.focus_index == 3,
        "Q",
    )


def test_pasted_text_is_taken_as_text(evtop):
    played = evtop()
    played.play(
        "\x1b[200~QQ\x1b[201~",
        "text can be pasted into prompts only",
        "/\x1b[200~charge\x1b[201~\r",
        "1 of 21 shown",
        "Q",
    )


# --- the loop ---------------------------------------------------------------------------


class FakeLoop(Console):
    """A console whose work logs its calls, and ends after some of them."""

    def __init__(self, stack, clock, slices, end_after):
        super().__init__(TopOptions(read_only=True, refresh=60.0), [SETTINGS], clock, stack)
        self.log = []
        self.slices = slices
        self.end_after = end_after

    def note(self, call):
        self.log.append(call)
        if call == self.end_after:
            self.end()

    def _take_slice(self):
        self.slices -= 1
        self.note("slice" if self.slices else "last slice")
        return self.slices > 0

    def _woken(self):
        self.note("woken")
        super()._woken()

    def _refresh(self):
        self.note("refresh")
        for _ in range(5):
            self.draw_soon()

    def logged(self, *calls):
        return [call for call in self.log if call in calls]


@pytest.fixture
def make(terminal, monkeypatch):
    """Make a loop; it is closed after the test."""
    loops = []

    def draw(session, _size):
        session.end.__self__.note("draw")
        return screen.Frame([])

    monkeypatch.setattr(screen, "draw", draw)
    with ExitStack() as stack:

        def one(clock=None, *, slices=1, end_after="draw"):
            loops.append(FakeLoop(stack, clock or SystemClock(), slices, end_after))
            return loops[-1]

        yield one
    for loop in loops:
        loop.wake()  # does nothing any more


def test_the_loop_begins_with_a_picture_and_draws_once_for_all_changes(make):
    loop = make()
    loop.events.run()
    assert loop.log == ["refresh", "draw"]


def test_the_loop_is_woken_from_another_thread_and_takes_slice_after_slice(make):
    loop = make(slices=3, end_after="last slice")

    def wake():
        for _ in range(100_000):  # a full pipe holds up no thread, and many wakes are one
            loop.wake()

    thread = threading.Thread(target=wake)
    thread.start()
    thread.join()
    loop.events.run()
    assert loop.logged("woken", "slice", "last slice")[0] == "woken"
    assert loop.logged("slice", "last slice") == ["slice", "slice", "last slice"]
    assert len(loop.logged("woken")) < 100


def test_where_nothing_needs_attention_there_is_no_picture_for_each_batch(make):
    clock, life = FakeClock(0.0), Life()
    loop = make(clock, end_after="nothing")
    loop.session.show("overview")
    seen = []
    for number in range(3):
        clock.now += 1.0
        loop.session.feed.put(events_of(life.success(f"t{number}")))
        Console._take_slice(loop)
        seen.append(len(loop.logged("refresh")))
        loop.session.model.refresh("overview", clock.now)
    assert seen == [1, 1, 1]


def test_keys_come_between_two_slices(make):
    keyboard, hand = os.pipe()
    loop = make(slices=3, end_after="last slice")

    def key():
        os.read(keyboard, 1)
        loop.log.append("key")

    loop.events.watch_file(keyboard, key)
    take = loop._take_slice

    def take_slice():
        more = take()
        if loop.slices == 2:
            os.write(hand, b"x")
        return more

    loop._take_slice = take_slice
    loop.wake()
    loop.events.run()
    os.close(keyboard)
    os.close(hand)
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

    loop._take_slice = take_slice
    loop.wake()
    loop.events.run()
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
    loop.events.run()
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


# --- the garbage collector ----------------------------------------------------------------


class Knot:
    """An object that only the collector can free, and that is no longer new."""

    def __init__(self):
        self.itself = self
        gc.collect(0)


@pytest.mark.parametrize(
    ("later", "pressed", "collected"),
    [
        (2.0, None, False),
        (900.0, 900.0, False),  # a user is at the keyboard
        (900.0, 870.0, True),
        (899.0, None, False),
        (900.0, None, True),
    ],
)
def test_all_is_collected_seldom_and_when_nobody_is_at_the_keyboard(
    make, later, pressed, collected
):
    clock = FakeClock(1000.0)
    loop = make(clock)
    assert not gc.isenabled()
    knot = weakref.ref(Knot())
    if pressed is not None:
        clock.now = 1000.0 + pressed
        loop._answer_soon()
    clock.now = 1000.0 + later
    loop._tick()
    assert (knot() is None) is collected
