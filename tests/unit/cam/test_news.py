import json
import logging

import pytest

from evtools.cam.counters import Counters
from evtools.cam.link import Link
from evtools.cam.news import News
from evtools.cam.roll import Roll
from evtools.transport import Notice, Statistics
from evtools.transport.live import DOCTOR
from evtools.wire import Defect
from tools.clock import FakeClock


class Source:
    def __init__(self):
        self.defects = []

    def statistics(self):
        return Statistics(events=7, defects=tuple(self.defects))


class Desk:
    def __init__(self, *, replays=False, redacts=False):
        self.clock = FakeClock(1000.0)
        self.counters = Counters()
        self.source = Source()
        self.link = Link(self.counters, Roll({}), self.clock)
        self.news = News(
            *(self.counters, self.source, self.link, self.clock), replays=replays, redacts=redacts
        )


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records]


def test_the_status_says_why_nothing_comes():
    desk = Desk()
    assert desk.news.status() == "waiting for broker: no connection"
    desk.link.hear(Notice("retry", "refused; trying again in 1s"))
    assert desk.news.status() == "waiting for broker: refused"


@pytest.mark.parametrize("replays", [False, True])
def test_that_nothing_comes_is_logged_once_and_of_a_broker_only(log, replays):
    desk = Desk(replays=replays)
    desk.news.tell_doubt()
    desk.clock.now += 10
    desk.news.tell_doubt()
    desk.news.tell_doubt()
    said = f"nothing has come for 10s; {DOCTOR}"
    assert log() == ([] if replays else [said])


def test_the_status_says_what_comes_and_how_the_camera_is():
    desk = Desk()
    desk.link.hear(Notice("listening", "redis://h"))
    desk.counters.events_per_second = 1284.3
    desk.counters.workers_alive = 12
    assert desk.news.status() == ("connected, 1284 ev/s, 12 workers, no shot yet, 0 failures")
    desk.counters.last_success_at = 999.2
    desk.counters.failures_in_row = 2
    assert desk.news.status() == (
        "connected, 1284 ev/s, 12 workers, last shot 800ms ago, 2 failures"
    )


def test_a_replay_waits_for_no_broker():
    assert Desk(replays=True).news.status() == (
        "replaying, 0 ev/s, 0 workers, no shot yet, 0 failures"
    )


def test_counters_and_stacks_are_logged(log):
    desk = Desk()
    desk.counters.shots.taken = 3
    desk.source.defects = [Defect("no JSON", b"\xff", "x", 2)]
    desk.news.dump()
    counters, stacks = log()
    told = json.loads(counters.removeprefix("counters: "))
    assert (told["shots"]["taken"], told["events"], told["malformed"]) == (*(3, 0, {"no JSON": 2}),)
    assert "thread MainThread:" in stacks
    assert "test_counters_and_stacks_are_logged" in stacks


def test_each_kind_of_ill_formed_input_is_told_once(log):
    desk = Desk()
    desk.source.defects = [Defect("no JSON", b"\xff\x1b", "line 1", 2)]
    desk.news.tell_defects()
    desk.source.defects.append(Defect("no type", b"{}"))
    desk.news.tell_defects()
    assert log() == [r"left out: no JSON (line 1): '\xff\x1b'", "left out: no type: '{}'"]


def test_where_secrets_are_masked_nothing_of_it_is_told_but_its_length(log):
    desk = Desk(redacts=True)
    defect = Defect("no JSON", b"secret", "secret", 2, 600, "text/plain\x1b[2J")
    desk.source.defects = [defect, Defect("no type", b"secret", "", 1, 6)]
    desk.news.tell_defects()
    assert log() == [
        "left out: no JSON: 600 bytes of text/plain\\x1b[2J",
        "left out: no type: 6 bytes",
    ]
