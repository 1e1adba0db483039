"""The standalone program on a terminal: keys, sizes, stops, and what is left of it."""

from __future__ import annotations

import os
import signal
import termios

import pytest

from servers.process import wait_until

SIZE = (80, 24)


@pytest.fixture
def evtop(start):
    """Return an evtop that shows its simulated cluster."""
    started = start("evtop", "--demo", terminal=SIZE, env={"LANG": "C.UTF-8"})
    started.wait_screen("1 Tasks", deadline=40)
    return started


def settings(started):
    """Return the modes of the terminal."""
    return termios.tcgetattr(started._terminal)[:4]


def test_it_draws_and_follows_the_size_of_the_window(evtop):
    evtop.resize(120, 32)
    evtop.wait_screen(lambda screen: len(screen.split("\n")) == 32)
    evtop.type("q" if "quit" in evtop.screen() else "Q")
    evtop.type("Q")
    assert evtop.wait() == 0


def test_it_stops_and_comes_back(evtop):
    shown = settings(evtop)
    evtop.type("\x1a")
    wait_until(lambda: settings(evtop) != shown, what="the terminal as it was")
    evtop.continue_in_foreground()
    wait_until(lambda: settings(evtop) == shown, what="the screen once more")
    evtop.wait_screen("1 Tasks")
    evtop.type("Q")
    assert evtop.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_given_back(start, number):
    started = start("evtop", "--demo", terminal=SIZE)
    started.wait_screen("1 Tasks", deadline=40)
    shown = settings(started)
    ours = os.dup(started._terminal)
    try:
        started.send_signal(number)
        started.wait()
        assert termios.tcgetattr(ours)[:4] != shown
    finally:
        os.close(ours)


def test_one_ctrl_c_counts_once(start, program):
    """The boot loader of the single file hands us what the terminal gave us already."""
    evdump = start("evdump", "--demo", terminal=SIZE)
    evdump.wait_stdout("task-", deadline=40)
    evdump.type("\x03")
    assert evdump.wait() == 0
    assert program.left_behind() == []


def test_a_dump_stops_and_comes_back(start):
    evdump = start("evdump", "--demo", terminal=SIZE)
    evdump.wait_stdout("task-", deadline=40)
    evdump.type("\x1a")
    evdump.wait_stopped()
    before = len(evdump.stdout)
    evdump.continue_in_foreground()
    wait_until(lambda: len(evdump.stdout) > before, what="more events")
    evdump.type("\x03")
    assert evdump.wait() == 0
