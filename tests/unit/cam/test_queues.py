"""What evcam keeps at hand of queues: asked in a thread, true for a while, masked."""

import logging

import pytest

from evtools.cam import queues
from evtools.cam.queues import QueueStatus, QueueWatch
from evtools.errors import BrokerUnavailable
from evtools.transport import ConnectionSettings, Replies
from evtools.transport.queues import Depth
from evtools.wire.redact import redactor
from servers.process import wait_until
from tools.clock import FakeClock
from tools.studio import PATIENCE


class FakeGauge:
    """A broker with so many messages in its queues; any other queue is empty."""

    def __init__(self, **ready):
        self.ready, self.asked = ready, []
        self.error = None

    def look(self, names, *, oldest=False):
        assert oldest
        if self.error:
            raise self.error
        self.asked.append([*names])
        return {name: Depth(self.ready.get(name, 0)) for name in names}

    def close(self):
        self.asked.append("closed")


@pytest.fixture
def workers(monkeypatch):
    """Set what workers reply, by command and node; note which commands were sent."""

    class Workers(dict):
        sent: list

        def call(self, _settings, command, **_):
            self.sent.append(command)
            return Replies(self.get(command, {}))

    made = Workers()
    made.sent = []
    monkeypatch.setattr(queues, "call", made.call)
    return made


def watch(gauge, clock=None, *, names=(), redact=(), **settings):
    return QueueWatch(
        ConnectionSettings(urls="redis://", **settings), names,
        redact=redactor(redact), clock=clock or FakeClock(1000.0), gauge=gauge,
    )  # fmt: skip


def test_queues_are_those_that_are_named_by_option_workers_and_events(workers):
    workers["active_queues"] = {
        "w1": [{"name": "mail"}, {"name": "bulk"}, {"name": "mail"}],
        "w2": [{"name": "mail"}],
        "odd": {"error": "no"},
    }
    workers["stats"] = {
        "w1": {"pool": {"max-concurrency": 4}},
        "w2": {"pool": {"max-concurrency": 2}},
    }
    gauge = FakeGauge(mail=7)
    watched = watch(gauge, names=("old",))
    watched.note({"seen", "***"})
    watched.look()
    assert gauge.asked == [["old", "mail", "bulk", "seen"]]
    assert dict(watched.known()) == {
        "old": QueueStatus(Depth(0), 0, 0),
        "mail": QueueStatus(Depth(7), 2, 6),
        "bulk": QueueStatus(Depth(0), 1, 4),
        "seen": QueueStatus(Depth(0), 0, 0),
    }


def test_the_size_of_a_pool_that_is_not_known_is_no_number_of_processes(workers):
    workers["active_queues"] = {"w1": [{"name": "mail"}], "w2": [{"name": "mail"}]}
    workers["stats"] = {"w1": {"pool": {"max-concurrency": 4}}}
    watched = watch(FakeGauge())
    watched.look()
    assert dict(watched.known()) == {"mail": QueueStatus(Depth(0), 2, None)}


def test_workers_are_asked_once_a_minute_and_not_when_read_only(workers):
    clock = FakeClock(1000.0)
    watched, quiet = watch(FakeGauge(), clock), watch(FakeGauge(), names=["q"], read_only=True)
    for _ in range(13):
        watched.look()
        clock.now += 10
    assert workers.sent == ["active_queues", "stats"] * 3
    quiet.look()
    assert len(workers.sent) == 6
    assert dict(quiet.known()) == {"q": QueueStatus(Depth(0))}


def test_what_is_no_longer_true_is_not_known(workers, monkeypatch):
    clock, gauge = FakeClock(1000.0), FakeGauge()
    workers["active_queues"], workers["stats"] = {"w": [{"name": "mail"}]}, {}
    watched = watch(gauge, clock)
    watched.look()
    clock.now += 29
    assert watched.known()
    gauge.error = BrokerUnavailable("away")
    watched.look()
    clock.now += 2
    assert not watched.known()
    gauge.error = None
    # The workers cannot be asked any more: after a while nothing is known of them.

    def refuse(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr(queues, "call", refuse)
    clock.now += 200
    watched.note({"mail"})
    watched.look()
    assert dict(watched.known()) == {"mail": QueueStatus(Depth(0))}


def test_a_problem_is_in_the_log_once_and_when_it_is_over(workers, caplog):
    caplog.set_level(logging.INFO)
    gauge = FakeGauge()
    watched = watch(gauge, cluster="eu")
    gauge.error = BrokerUnavailable("cannot reach it")
    for error in (gauge.error, gauge.error, None, None):
        gauge.error = error
        watched.look()
    text = "the broker could not be asked about queues"
    assert caplog.messages == [f"eu: {text}: cannot reach it", f"eu: over: {text}"]


def test_masked_names_are_asked_about_and_not_shown(workers):
    workers["active_queues"] = {"w": [{"name": "mail-secret"}, {"name": "bulk-secret"}]}
    workers["stats"] = {}
    gauge = FakeGauge()
    watched = watch(gauge, redact=["queue"])
    watched.look()
    assert gauge.asked == [["mail-secret", "bulk-secret"]]
    assert [name for name, _ in watched.known()] == ["***", "***"]


def test_the_thread_ends_and_closes_its_connection(workers):
    gauge = FakeGauge()
    watched = watch(gauge, names=["q"])
    watched.start()
    wait_until(lambda: gauge.asked, what="a question")
    watched.close()
    watched.join(PATIENCE)
    assert not watched.is_alive()
    assert gauge.asked == [["q"], "closed"]
