"""What the empty half of the screen shows: the row under the cursor over time."""

import pytest

from tools.screen import FakeTerminal
from tools.typed import event_of


@pytest.fixture
def watched():
    """Return a terminal after ten minutes of two types, of which one failed twice a minute."""
    terminal = FakeTerminal((120, 40))
    for minute in range(10):
        for number in range(6):
            life, name = terminal.life, f"{minute}-{number}"
            kind = life.failure if number < 2 else life.success
            terminal.take(kind(f"a{name}", "proj.\x1b[2Jone" if number < 2 else "proj.two"))
            life.now += 10.0 - 0.6
    terminal.tick(0.0)
    return terminal


def panel(terminal):
    """Return the lines below the table."""
    lines = terminal.text.splitlines()
    start = next(
        n for n, line in enumerate(lines) if "completed, failed" in line or "failures  " in line
    )
    return lines[start:-2]


def test_the_row_under_the_cursor_is_drawn_and_followed(watched):
    watched.press("2")
    lines = panel(watched)
    assert r"proj.\x1b[2Jone: completed, failed  15m" in lines[0]
    assert "run p50, p95" in lines[0]
    assert "15m ago" in lines[-1]
    # All of it failed, and what had not begun is blank.
    drawn = "".join(line[8:58] for line in lines[1:-1])
    assert "▒" in drawn
    assert not set(drawn) & set("▁▂▃▄▅▆▇█")
    assert {line[8:20].strip() for line in lines[1:-1]} == {""}
    watched.press("j")
    lines = panel(watched)
    assert "proj.two: completed, failed" in lines[0]
    assert "▒" not in "".join(lines[1:-1])


def test_workers_queues_and_errors_have_theirs(watched):
    watched.press("3")
    assert "w1@host: completed, failed" in panel(watched)[0]
    watched.press("6")
    assert "ValueError: failures" in panel(watched)[0]
    watched.press("4")
    assert "mail: wait p50, p95" in watched.text


def test_it_gives_way_to_rows_details_and_small_screens(watched):
    watched.press("2", "i")
    assert "completed, failed" not in watched.text
    watched.press("esc")
    watched.command("ascii on")
    assert set("".join(panel(watched))) <= set(map(chr, range(32, 127)))
    watched.size = 80, 14
    assert "completed, failed" not in watched.text
    watched.size = 60, 30
    assert "run p50" not in watched.text
    assert "completed, failed" in watched.text


def test_the_tasks_have_none(watched):
    watched.command("filter uuid:a0-0")
    assert "completed, failed" not in watched.text
    watched.take(event_of(watched.life.beat("w9@host")))
