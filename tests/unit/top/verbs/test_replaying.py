import math

import pytest

from evtools.transport.recording.reader import RecordingReader
from evtools.wire import encode_line
from tools.life import Life
from tools.screen import FakeTerminal

# --- live -------------------------------------------------------------------------


def test_a_pause_stops_the_picture_and_not_the_intake(terminal, session, table):
    terminal.press("p")
    assert terminal.message == "paused; events are still taken in"
    terminal.take(terminal.life.success("late"))
    assert "late" not in table.cursor.keys
    terminal.press("Z")
    assert terminal.message == "live again"
    terminal.tick()
    assert "late" in table.cursor.keys


def test_pictures_are_stepped_through(terminal, session):
    for number in range(3):
        terminal.take(terminal.life.success(f"new{number}"))
        assert f"new{number}" in terminal.text
    terminal.press("p", ",")
    assert "new1" in terminal.text
    assert "new2" not in terminal.text
    assert terminal.message.startswith("as it was at 00:16:")
    terminal.press(".")
    assert "new2" in terminal.text


def test_stepping_shows_the_view_of_the_picture(terminal, session):
    for key in ("1", "1", "2", "2"):
        terminal.press(key)
        terminal.lines()
        terminal.tick()
    terminal.press("p", ",")
    assert session.view == "types"
    terminal.press(",", ",", ",", ",")
    assert session.view == "tasks"
    for _ in range(200):
        terminal.press(",")
    assert terminal.message == "no earlier picture was kept that looks different"


def test_what_is_not_paused_has_no_steps(terminal):
    terminal.command("step-back")
    assert terminal.message == "stepping is for a paused picture (p pauses it)"


@pytest.mark.parametrize("command", ["seek 14:30", "speed 2"])
def test_a_live_cluster_cannot_be_wound(terminal, command):
    terminal.command(command)
    assert terminal.message.startswith("that is for a replay")


# --- replay -----------------------------------------------------------------------


@pytest.fixture
def tape(tmp_path):
    """Return a recording of two minutes, an event every second."""
    life = Life(1_000_000.0)
    path = tmp_path / "tape.jsonl"
    lines = []
    for number in range(120):
        life.now = 1_000_000.0 + number
        lines.append(encode_line(life.beat(f"w{number}@host")))
    path.write_bytes(b"\n".join(lines) + b"\n")
    made = RecordingReader(str(path), clock=FakeTerminal().clock, speed=1.0)
    made.stays = True
    yield made
    made.close()


@pytest.fixture
def replay(tape):
    """Return a terminal on which the tape is played, at its first event."""
    terminal = FakeTerminal(source=tape)
    terminal.take(next(tape.batches(0)))
    return terminal


def test_a_pause_of_a_replay_stops_the_tape(replay, tape):
    replay.press("p")
    assert tape.paused
    assert replay.message == "replay paused"
    replay.press("p")
    assert not tape.paused
    assert replay.message == "replay goes on"


def test_steps_of_a_replay_are_as_long_as_a_refresh(replay, tape):
    start = tape.position
    replay.press(".")
    assert tape.paused
    assert tape.position == start + 1
    replay.press(",", ",")
    assert tape.position == start - 1


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("13:47:30", 1_000_050.0),
        ("13:48", 1_000_080.0),
        ("1970-01-12T13:47:00", 1_000_020.0),
        ("1970-01-12T13:47:00Z", 1_000_020.0),
        ("+30s", None),
        ("-1s", None),
    ],
)
def test_a_replay_is_wound_to_a_time(replay, tape, text, position):
    start = tape.position
    replay.command(f"seek {text}")
    assert replay.message == ""
    if position is None:
        position = start + (30 if text[0] == "+" else -1)
    assert tape.position == position


@pytest.mark.parametrize("text", ["soon", "+", "25:00", "-x", "9999-99-99"])
def test_what_is_no_time_is_told(replay, text):
    replay.command(f"seek {text}")
    assert replay.message.startswith(f"{text} is no time (write 14:30")


def test_the_time_is_asked_for(replay, tape):
    replay.press("S")
    assert "14:30" in replay.lines()[-2]
    replay.write("13:48")
    replay.press("enter")
    assert tape.position == 1_000_080.0


def test_before_the_first_event_there_is_no_time(tape):
    terminal = FakeTerminal(source=tape)
    terminal.command("seek 14:30")
    assert terminal.message == "nothing has been played yet"
    terminal.press(".")
    assert tape.position is None


@pytest.mark.parametrize(("text", "speed"), [("10x", 10.0), ("0.5", 0.5), ("max", math.inf)])
def test_a_replay_runs_faster_or_slower(replay, tape, text, speed):
    replay.command(f"speed {text}")
    assert tape.speed == speed
    assert replay.message == f"speed {text}"


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "fast", "9999"])
def test_what_is_no_speed_is_told(replay, tape, text):
    replay.command(f"speed {text}")
    assert "is no speed" in replay.message
    assert tape.speed == 1.0
