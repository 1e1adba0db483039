import pytest

from tools.screen import FakeTerminal


@pytest.fixture
def terminal():
    """Return a terminal of 120x32 with 40 tasks; every fifth failed."""
    made = FakeTerminal()
    for number in range(40):
        kind = made.life.success if number % 5 else made.life.failure
        made.take(kind(f"id{number:02}", f"proj.task{number % 3}"))
    return made


@pytest.fixture
def session(terminal):
    return terminal.session


@pytest.fixture
def table(session):
    return session.table
