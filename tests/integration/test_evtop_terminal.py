"""evtop on a terminal: every size, every way to end, and what must not reach it."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import sys
import termios
import time

import pytest

from evtools.wire import encode_line
from servers.process import wait_until
from tools.command import installed
from tools.life import Life

WEAPONS = ("a\x1b[2J\x1b[Hb", "c\x1b]0;owned\x07d", "e\x9b2Jf", "g\u202egnp.exe\u202ch")
NAMES = ("proj.billing.charge", "タスク.決済", "🎉party", "e\u0301clair", *WEAPONS)


@pytest.fixture
def recording(tmp_path):
    """Return the path of a recording of tasks with names of all kinds."""
    life = Life()
    events = [life.beat("w1@host"), life.beat("w2@host")]
    for number in range(40):
        kind = life.success if number % 4 else life.failure
        events += kind(f"{number:08x}-0000-4000-8000-000000000000", NAMES[number % 8])
    path = tmp_path / "tape.jsonl"
    path.write_bytes(b"".join(encode_line(event) + b"\n" for event in events))
    return str(path)


@pytest.fixture
def shown(evtop, recording):
    """Start evtop on the recording, with all of it on the screen."""

    def start(*arguments, size=(80, 24), **how):
        started = evtop("-r", recording, "--speed", "max", *arguments, terminal=size, **how)
        count = "40/40" if size[0] < 100 else "40 shown"
        # All of it: it is drawn from top to bottom.
        started.wait_screen(
            lambda screen: (
                count in screen
                and "w1@host" in line(screen, size[1] - 3)
                and line(screen, size[1] - 1)
            )
        )
        return started

    return start


def line(screen, number):
    """Return a line of the screen, "" if there is none."""
    return "".join(screen.split("\n")[number:][:1])


def cursor_on(number):
    """Return a test for a screen with the cursor on that line."""
    return lambda screen: line(screen, number).startswith(">")


def leave(evtop):
    """Leave by a key; return the status once all output has come."""
    evtop.press("Q")
    return evtop.wait()


def test_what_one_sees_at_80x24(shown):
    screen = shown().screen().split("\n")
    assert len(screen) == 24
    assert "REPLAY" in screen[0]
    assert screen[2].startswith("0 Overview [1 Tasks] 2 Types 3 Workers 4 Queues 5 Events 6 Errors")
    assert screen[3].split()[:3] == ["STATE", "TASK", "UUID"]
    assert screen[4].startswith(">")
    assert screen[-1].startswith(" ? Help  / Filter")


def test_what_one_sees_at_120x32(shown):
    screen = shown(size=(120, 32)).screen().split("\n")
    assert len(screen) == 32
    assert "workers" in screen[2]
    assert screen[3].startswith(" 0 Overview [1 Tasks] 2 Types  3 Workers  4 Queues")
    assert "EXCEPTION / RESULT" in screen[4]


def test_a_screen_that_something_wrote_over_is_drawn_again(shown):
    evtop = shown()
    evtop._feed(b"\x1b[2Jbroadcast message from root")
    evtop.press("ctrl-l")
    evtop.wait_screen(lambda screen: "40/40" in screen and "broadcast" not in screen)
    assert leave(evtop) == 0


def test_a_detail_a_search_and_the_way_back(shown):
    evtop = shown()
    evtop.press("e", "enter")
    evtop.wait_screen("[Traceback]")
    evtop.press("/", *"valueerror", "enter", "]")
    evtop.wait_screen("[Info]")
    evtop.press("q")
    evtop.wait_screen(">FAIL")
    assert leave(evtop) == 0


def test_a_filter_is_typed_seen_at_once_and_cancelled(shown):
    evtop = shown()
    evtop.press("/", *"state:fail")
    evtop.wait_screen("10/40")
    evtop.press("ctrl-c")
    evtop.wait_screen("40/40")
    assert leave(evtop) == 0


def test_what_was_typed_is_known_in_the_next_session(shown, tmp_path):
    env = {"XDG_STATE_HOME": str(tmp_path / "state")}
    evtop = shown("--read-only", env=env)
    evtop.type(":filter state:fail\r")
    evtop.wait_screen("10/40")
    evtop.type(":filter save bad\r")
    evtop.wait_screen("saved: write @bad in a filter")
    evtop.send_signal(signal.SIGTERM)
    assert evtop.wait() == 0
    evtop = shown(env=env)
    evtop.press(":", "up")
    evtop.wait_screen(":filter save bad")
    evtop.press("up", "enter")
    evtop.wait_screen("10/40")
    evtop.type(":filter -@bad\r")
    evtop.wait_screen("30/40")
    assert leave(evtop) == 0


@pytest.mark.parametrize("size", [(80, 24), (120, 32)])
def test_the_help_finds_a_key(shown, size):
    evtop = shown(size=size)
    evtop.press("?", *"invert the")
    evtop.wait_screen(lambda screen: re.search(r"I +invert the order", screen))
    evtop.press("esc")
    evtop.wait_screen(lambda screen: "invert the order" not in screen)


# --- sizes ------------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_any_size_is_survived_while_everything_is_open(shown):
    evtop = shown(size=(120, 32))
    for keys in ((), ("enter",), ("f",), ("?",), ("o",), ("/",)):
        for size in ((20, 5), (300, 100), (50, 12), (49, 12), (80, 24), (139, 27)):
            evtop.press("esc")
            evtop.press(*keys)
            evtop.resize(*size)
        evtop.resize(120, 32)
        evtop.wait_screen("Overview")
    evtop.press("esc")
    assert leave(evtop) == 0
    assert evtop.stderr == ""


def test_a_terminal_that_is_too_small_says_so_and_recovers(shown):
    evtop = shown()
    evtop.resize(20, 5)
    evtop.wait_screen("too small")
    evtop.resize(100, 30)
    evtop.wait_screen("40 shown")
    evtop.resize(30, 6)
    evtop.wait_screen("too small")
    evtop.press("q")
    assert evtop.wait() == 0


# --- what must not reach a terminal -----------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (120, 32)])
def test_no_name_breaks_a_column_or_does_anything_to_the_terminal(shown, size):
    evtop = shown(size=size)
    rows = [line for line in evtop.screen().split("\n") if "w1@host" in line]
    assert len(rows) >= size[1] - 10
    evtop.press("enter")
    evtop.wait_screen("Timeline")
    evtop.press("q", "5")
    evtop.wait_screen("[5 Events]")
    assert leave(evtop) == 0
    written = evtop.stdout_stream.data.decode()
    assert "\x1b]0;" not in written
    assert "\x9b" not in written
    assert "\u202e" not in written
    assert "\\x1b[2J" in written


@pytest.mark.parametrize("locale", [[], ["LANG=xx_YY.UTF-8"], ["LANG=C", "LC_ALL=xx_YY.utf8"]])
def test_letters_are_shown_and_typed_whether_or_not_the_locale_is_installed(
    evtop, recording, locale
):
    # By env, for what starts our commands may have set a locale itself.
    argv = ["/usr/bin/env", "-u", "LANG", "-u", "LC_ALL", "-u", "LC_CTYPE", *locale]
    argv += [str(installed("evtop")), "-r", recording, "--speed", "max"]
    started = evtop.start(argv, terminal=(120, 24), env={"TERM": "xterm-256color"})
    # It begins with the overview where there is room.
    started.wait_screen("errors")
    started.press("1")
    started.wait_screen("タスク.決済")
    started.type("/name:タスク")
    started.wait_screen("filter> name:タスク")
    started.press("enter")
    started.wait_screen("5 of 40 shown")


def test_without_utf8_only_ascii_is_written(shown):
    evtop = shown(env={"LANG": "C", "LC_ALL": "C"})
    leave(evtop)
    assert evtop.stdout_stream.data.isascii()


@pytest.mark.parametrize(
    ("arguments", "env"), [((), {"NO_COLOR": "1"}), (("--color", "never"), {})]
)
def test_without_colours_there_are_none(shown, arguments, env):
    evtop = shown(*arguments, env=env)
    leave(evtop)
    colours = re.findall(rb"\x1b\[[0-9;]*m", evtop.stdout_stream.data)
    numbers = {int(n) for one in colours for n in re.findall(rb"\d+", one)}
    assert 7 in numbers
    assert not numbers & (set(range(30, 39)) | set(range(90, 98)))


@pytest.mark.parametrize("term", ["dumb", "vt100", "something-new"])
def test_any_terminal_is_good_enough_to_start(shown, term):
    assert leave(shown(env={"TERM": term})) == 0


# --- ends -------------------------------------------------------------------------


def settings_of(evtop):
    """Return the settings of the terminal, seen from its other end."""
    return termios.tcgetattr(evtop._terminal)


def is_restored(evtop):
    written = evtop.stdout_stream.data
    return written.rstrip().endswith(b"\x1b[?25h") and b"\x1b[?1049l" in written


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_end_it_with_the_terminal_as_it_was(shown, number):
    evtop = shown()
    evtop.press("?")
    evtop.wait_screen("find>")
    evtop.press("esc")
    evtop.wait_screen(lambda screen: "find>" not in screen)
    evtop.send_signal(number)
    assert evtop.wait() == 0
    assert is_restored(evtop)
    assert evtop.stderr == ""


@pytest.mark.parametrize("key", ["q", "Q", "ctrl-c"])
def test_keys_end_it_with_the_terminal_as_it_was(evtop, recording, key):
    started = evtop("-r", recording, "--speed", "max")
    started.wait_screen("40/40")
    raw = settings_of(started)
    started.press(key)
    assert started.wait() == 0
    assert is_restored(started)
    assert not raw[3] & termios.ICANON


def wait_until_raw(evtop):
    wait_until(
        lambda: not settings_of(evtop)[3] & termios.ICANON, what="the terminal to be its own again"
    )


def test_it_is_suspended_and_comes_back(shown):
    evtop = shown()
    evtop.press("ctrl-z")
    evtop.wait_stopped()
    assert settings_of(evtop)[3] & termios.ICANON
    wait_until(lambda: evtop.stdout_stream.data.rstrip().endswith(b"\x1b[?25h"), what="the cursor")

    evtop.resize(100, 30)
    evtop.continue_in_foreground()
    wait_until_raw(evtop)
    evtop.wait_screen(cursor_on(5))
    evtop.press("j")
    evtop.wait_screen(cursor_on(6))
    assert leave(evtop) == 0


PROGRAM = """
import sys, termios, time
print("canonical", bool(termios.tcgetattr(0)[3] & termios.ICANON), sys.argv[1:], flush=True)
try:
    time.sleep(99)
except KeyboardInterrupt:
    sys.exit(5)
"""


def test_a_program_of_the_user_has_the_terminal_and_gives_it_back(shown, tmp_path):
    path, run = tmp_path / "evtools.toml", [sys.executable, "-c", PROGRAM, "{uuid}"]
    path.write_text(f"[command.own]\nkey = 'B'\nsafe = true\nrun = {json.dumps(run)}\n")
    path.chmod(0o600)
    evtop = shown("--config", path)
    evtop.press("B")
    evtop.wait_screen("run own?")
    evtop.press("y")
    evtop.wait_screen("canonical True ['00000027-0000")
    # These are the program's, however many.
    evtop.press("ctrl-c")
    evtop.wait_screen("own: exit status 5; press Enter to go back")
    evtop.press("ctrl-c", "enter")
    wait_until_raw(evtop)
    evtop.wait_screen(cursor_on(4))
    evtop.wait_screen("own: exit status 5")
    evtop.press("j")
    evtop.wait_screen(cursor_on(5))
    assert leave(evtop) == 0


def test_it_is_stopped_without_being_asked_and_comes_back(shown):
    evtop = shown()
    evtop.send_signal(signal.SIGSTOP)
    evtop.wait_stopped()
    # What shells do before their prompt, and what they leave on the screen.
    settings = settings_of(evtop)
    settings[3] |= termios.ICANON | termios.ECHO
    termios.tcsetattr(evtop._terminal, termios.TCSANOW, settings)
    evtop._feed(b"\x1b[2J$ fg")
    evtop.continue_in_foreground()
    wait_until_raw(evtop)
    evtop.wait_screen("40/40")
    evtop.press("j")
    evtop.wait_screen(cursor_on(5))
    assert leave(evtop) == 0


def test_continued_in_the_background_it_waits_for_the_terminal(shown):
    evtop = shown()
    evtop.press("ctrl-z")
    evtop.wait_stopped()
    shell = os.getsid(evtop.pid)
    wait_until(lambda: os.tcgetpgrp(evtop._terminal) == shell, what="the shell")
    # One that sleeps does not give the terminal away.
    os.kill(shell, signal.SIGSTOP)
    evtop.send_signal(signal.SIGCONT)
    evtop.wait_stopped()
    assert settings_of(evtop)[3] & termios.ICANON
    os.kill(shell, signal.SIGCONT)
    evtop.continue_in_foreground()
    wait_until_raw(evtop)
    evtop.press("j")
    evtop.wait_screen(cursor_on(5))
    assert leave(evtop) == 0
    assert evtop.stderr == ""


def test_a_terminal_that_goes_away_ends_it(shown):
    evtop = shown()
    os.close(evtop._terminal)
    evtop._terminal = -1
    evtop.stdout_stream.pause()
    evtop.send_signal(signal.SIGHUP)
    wait_until(lambda: evtop.returncode is not None, deadline=15, what=lambda: "the end")


BROKEN = """
import sys
from evtools.top import screen
from evtools.cli.main import evtop as main
real = screen.draw
def draw(*args):
    draw.calls += 1
    if draw.calls > 3:
        raise ValueError("broken view")
    return real(*args)
draw.calls = 0
screen.draw = draw
sys.exit(main())
"""


def test_two_mistakes_in_a_row_restore_the_terminal_and_are_told(evtop, recording):
    argv = [sys.executable, "-c", BROKEN, "-r", recording, "--speed", "max"]
    started = evtop.start(argv, terminal=(80, 24), env={"TERM": "xterm-256color"})
    assert started.wait() == 1
    assert b"\x1b[?1049l" in started.stdout_stream.data
    assert started.stderr.startswith("evtop: internal error: ValueError in <string>:")
    assert "the traceback is in ~/.local/state/evtools/evtop.log" in started.stderr
    assert started.stderr.count("\n") == 2


def test_a_frozen_terminal_is_survived(shown):
    evtop = shown()
    evtop.pause_output()
    evtop.press(*("j" * 200), *("k" * 200))
    evtop.resume_output()
    evtop.press("G")
    evtop.wait_screen(lambda screen: ">" in screen)
    assert leave(evtop) == 0


# --- what the next evtop begins with -------------------------------------------------


def test_a_killed_evtop_leaves_its_history_to_the_next(evtop, broker_url, event_exchange, sender):
    at = ("-b", broker_url, "--event-exchange", event_exchange, "--history", "events.jsonl")
    sends, life = sender(broker_url, event_exchange), Life(now=time.time())
    killed = evtop(*at, terminal=(120, 32))
    killed.wait_screen("LIVE")
    for event in life.failure("aaaaaaaa-1", "proj.before"):
        sends.send(event.pop("type"), **event)
    killed.wait_screen("proj.before")
    file = evtop.folder / "events.jsonl"
    wait_until(lambda: b"task-failed" in file.read_bytes(), what="the event in the file")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    started = evtop(*at, terminal=(120, 32))
    started.wait_screen("proj.before")
    started.wait_screen(re.compile(r"\d+ events since .* are from events.jsonl").search)
    other = evtop(*at, terminal=(120, 32))
    other.wait_screen(f"another evtop ({started.pid}) writes events.jsonl: this one only reads it")
    assert leave(other) == leave(started) == 0


def test_a_full_disk_under_the_history_is_said_and_it_goes_on_when_there_is_room(evtop):
    started = evtop("--demo", "--history", "h", terminal=(120, 32))
    file = evtop.folder / "h"
    wait_until(lambda: file.exists() and file.stat().st_size, what="events in the file")
    unlimited = resource.prlimit(started.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(started.pid, resource.RLIMIT_FSIZE, (file.stat().st_size, unlimited[1]))
    started.wait_screen("cannot write h: File too large; evtop goes on, and tries again")
    started.wait_screen("HISTORY FAILED")
    resource.prlimit(started.pid, resource.RLIMIT_FSIZE, unlimited)
    started.wait_screen("h is written again; ", deadline=20)
    started.wait_screen(lambda screen: "HISTORY FAILED" not in screen)
    assert leave(started) == 0
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    [hole] = [line for line in lines if line["type"] == "evdump-gap"]
    assert (hole["reason"], hole["error"]) == ("stopped", "cannot write h: File too large")
