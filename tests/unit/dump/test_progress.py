"""The bar: when it appears, what it says, and that it goes again."""

import io
import sys

import pyte
import pytest

from evtools.dump.progress import Progress
from tools.clock import FakeClock


class Terminal(io.StringIO):
    """A stream that says it is a terminal, and a screen for what is written."""

    def isatty(self):
        return True

    def screen(self):
        screen = pyte.Screen(80, 10)
        pyte.Stream(screen).feed(self.getvalue().replace("\n", "\r\n"))
        return "\n".join(screen.display).strip()


@pytest.fixture(autouse=True)
def terminal_of_a_kind(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def terminal():
    return Terminal()


def test_a_bar_shows_how_far_the_reading_is(terminal, clock):
    with Progress(terminal, clock, shown=True) as progress:
        clock.now += 1
        progress.show(1_000_000, 4_000_000)
        progress.show(2_000_000, 4_000_000)
        progress._bar.refresh()
        assert "reading" in terminal.screen()
        assert "2.0/4.0 MB" in terminal.screen()
    assert terminal.screen() == ""


def test_nothing_is_shown_for_what_is_read_in_no_time(terminal, clock):
    with Progress(terminal, clock, shown=True) as progress:
        clock.now += 0.4
        progress.show(1, 2)
    assert terminal.getvalue() == ""


def test_nothing_is_written_or_imported_where_nobody_looks(terminal, clock, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    with Progress(terminal, clock, shown=False) as progress:
        clock.now += 9
        progress.show(1, 2)
        progress.hide()
    assert terminal.getvalue() == ""


def test_an_unknown_total_is_no_reason_to_show_nothing(terminal, clock):
    with Progress(terminal, clock, shown=True) as progress:
        clock.now += 1
        progress.show(1_000_000, None)
        progress._bar.refresh()
        assert "1.0/? MB" in terminal.screen()


def test_the_bar_makes_way_and_comes_back(terminal, clock):
    with Progress(terminal, clock, shown=True) as progress:
        clock.now += 1
        progress.show(1, 2)
        progress.hide()
        terminal.write("a line\n")
        progress.show(2, 2)
        progress._bar.refresh()
        first, second = terminal.screen().splitlines()
        assert first.rstrip() == "a line"
        assert second.startswith("reading")
    assert terminal.screen() == "a line"


@pytest.mark.parametrize("colour", [True, False])
def test_colours_are_as_wanted(terminal, clock, colour):
    with Progress(terminal, clock, shown=True, colour=colour) as progress:
        clock.now += 1
        progress.show(1, 2)
        progress._bar.refresh()
    assert ("\x1b[38;5;" in terminal.getvalue()) == colour
