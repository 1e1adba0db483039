import pytest

from tools.screen import FakeTerminal


@pytest.fixture
def terminal():
    """Return a session on a terminal of 120x32 that is not there."""
    return FakeTerminal()


@pytest.fixture
def small():
    """Return a session on a terminal of 80x24 that is not there."""
    return FakeTerminal((80, 24))


@pytest.fixture
def busy(terminal):
    """Return the terminal, with a failure, a success and a running task."""
    life = terminal.life
    terminal.take(
        life.beat("w1@host"),
        *life.failure("aaaa1111", "proj.charge"),
        *life.success("bbbb2222", "proj.add"),
        life.received("cccc3333", "proj.slow"),
        life.started("cccc3333"),
    )
    return terminal


@pytest.fixture
def crowd(terminal):
    """Return the terminal, with 40 tasks; every fifth failed."""
    for number in range(40):
        kind = terminal.life.success if number % 5 else terminal.life.failure
        terminal.take(kind(f"id{number:02}", f"proj.task{number % 3}"))
    return terminal
