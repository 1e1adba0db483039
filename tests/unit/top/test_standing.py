from datetime import UTC, datetime, tzinfo
from types import SimpleNamespace

import pytest

from evtools.top.own_cost import OwnCost
from evtools.top.standing import is_stale, surroundings
from evtools.transport import Notice
from evtools.transport.recording.reader import RecordingReader
from tools.screen import FakeTerminal


def around(terminal):
    return surroundings(terminal.session, "redis://host", OwnCost(terminal.clock))


def test_it_tells_where_how_often_and_when(terminal):
    told = around(terminal)
    assert (told.status, told.where, told.refresh) == ("LIVE", "redis://host", 1.0)
    assert told.clock == "00:16:40 UTC"
    assert told.badges == ("RW",)
    assert told.banner is None
    assert not is_stale(terminal.session)


def test_a_pause_is_told(terminal):
    terminal.press("p")
    assert around(terminal).status == "PAUSED"


def test_a_long_silence_is_not_called_live(terminal):
    terminal.take(terminal.life.beat())
    assert around(terminal).status == "LIVE"
    terminal.clock.now += 31
    assert around(terminal).status == "STALE"


@pytest.mark.parametrize(
    ("notices", "status"),
    [
        ([], "CONNECTING"),
        ([Notice("listening", "x")], "LIVE"),
        ([Notice("listening", "x"), Notice("lost", "reset")], "RECONNECTING"),
    ],
)
def test_the_connection_is_told(terminal, notices, status):
    link = terminal.session.link = type(terminal.link)(terminal.clock)
    for notice in notices:
        link.hear(notice)
    assert around(terminal).status == status


def test_a_lost_connection_has_a_banner_with_its_reason_and_the_age(terminal):
    terminal.link.hear(Notice("lost", "reset\x1b"))
    terminal.link.hear(Notice("retry", "Connection refused; trying again in 4.0s"))
    terminal.clock.now += 12
    left, right = around(terminal).banner
    assert left == ("RECONNECTING  attempt 1: Connection refused; trying again in 4.0s (Q quits)")
    assert right == "data as of 00:16:40, 12s old"
    assert is_stale(terminal.session)
    terminal.link.hear(Notice("restored", "redis://host"))
    assert around(terminal).banner is None


def test_the_first_moment_of_a_loss_has_no_attempts(terminal):
    terminal.link.hear(Notice("lost", "reset"))
    assert around(terminal).banner[0] == "RECONNECTING: reset (Q quits)"


@pytest.mark.parametrize(
    ("error", "left"), [(None, "ENDED"), (ValueError("refused"), "ENDED  refused")]
)
def test_an_end_has_a_banner_too(terminal, error, left):
    terminal.link.end(error)
    assert around(terminal).banner[0] == left
    assert around(terminal).status == "ENDED"


def test_modes_that_must_not_be_forgotten_have_badges():
    terminal = FakeTerminal(read_only=True)
    terminal.session.mouse = True
    recording = SimpleNamespace(events=7, error="")
    terminal.session.feed.recording = recording
    assert around(terminal).badges == ("REC 7", "MOUSE", "RO")
    recording.error = "disk full"
    assert around(terminal).badges[0] == "REC FAILED"


# --- replay -----------------------------------------------------------------------


@pytest.fixture
def tape(tmp_path):
    path = tmp_path / "tape.jsonl"
    path.write_text('{"type": "worker-online", "local_received": 500.0}\n')
    made = RecordingReader(str(path), clock=FakeTerminal().clock, speed=1.0)
    yield made
    made.close()


def test_a_replay_tells_its_speed_its_time_and_its_end(tape):
    terminal = FakeTerminal(source=tape)
    assert around(terminal).status == "REPLAY"
    tape.speed = 10.0
    assert around(terminal).status == "REPLAY 10x"
    tape.pause()
    assert around(terminal).status == "REPLAY PAUSED"
    tape.resume()
    batch = next(tape.batches(0))
    terminal.session.model.take(batch)
    terminal.session.model.refresh("tasks", terminal.clock.now)
    assert around(terminal).clock == "00:08:20 UTC"
    list(tape.batches(0))
    assert around(terminal).status == "REPLAY ENDED"
    terminal.link.end(None)
    assert around(terminal).banner is None
    assert not is_stale(terminal.session)


class Here(tzinfo):
    """The zone of this machine, as the command line has it."""

    def utcoffset(self, dt):
        return dt.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, dt):
        return None

    def tzname(self, dt):
        return "local"

    def fromutc(self, dt):
        return dt.replace(tzinfo=UTC).astimezone().replace(tzinfo=self)


def test_the_zone_of_this_machine_has_its_name(terminal):
    terminal.session.model.options.zone = Here()
    name = datetime.fromtimestamp(1000.0, UTC).astimezone().tzname()
    assert around(terminal).clock.endswith(f" {name}")


def test_a_time_that_no_calendar_has_is_no_time(terminal):
    terminal.clock.now = 1e30
    assert around(terminal).clock == "-"
