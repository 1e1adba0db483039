import pytest

from evtools.transport.demo.commands import AWAY, COMMANDS, SILENT, answer
from evtools.transport.demo.kinds import BY_NAME
from tools.rehearsal import Rehearsal


@pytest.fixture
def rehearsal():
    return Rehearsal(fates=False).play(10)


@pytest.fixture
def worker(rehearsal):
    return rehearsal.workers["images@demo-c"]


@pytest.fixture
def uuid(rehearsal, worker):
    while not worker.running:
        rehearsal.play(0.5)
    return next(iter(worker.running))


def test_a_worker_that_is_asked_answers(worker):
    assert answer(worker, "ping", {}) == {"ok": "pong"}


@pytest.mark.parametrize(
    ("command", "arguments", "error"),
    [
        ("bogus", {}, "KeyError('bogus')"),
        ([], {}, "TypeError"),
        ("revoke", {}, "TypeError"),
        ("revoke", {"task_id": 5}, "TypeError"),
        ("terminate", {"task_id": "u", "signal": "SIGNONE"}, "KeyError('SIGNONE')"),
        ("terminate", {"task_id": "u", "signal": 999}, "ValueError"),
        ("rate_limit", {"task_name": "x", "rate_limit": "1/s"}, "unknown task"),
        ("time_limit", {"task_name": "x"}, "unknown task"),
        ("autoscale", {"max": 10, "min": 1}, "Autoscale not enabled"),
    ],
)
def test_what_cannot_be_done_is_answered_with_an_error(worker, command, arguments, error):
    assert error in answer(worker, command, arguments)["error"]


def test_what_is_revoked_without_a_signal_runs_on(worker, uuid):
    assert answer(worker, "revoke", {"task_id": uuid}) == {"ok": f"tasks {uuid} flagged as revoked"}
    assert uuid in worker.running


@pytest.mark.parametrize(
    ("command", "arguments", "signum"),
    [
        ("revoke", {"terminate": True}, 15),
        ("revoke", {"terminate": True, "signal": "SIGKILL"}, 9),
        ("revoke", {"terminate": True, "signal": "kill"}, 9),
        ("terminate", {"signal": 2}, 2),
    ],
)
def test_what_is_terminated_is_revoked(rehearsal, worker, uuid, command, arguments, signum):
    assert "ok" in answer(worker, command, {"task_id": [uuid, "other"], **arguments})
    (event,) = rehearsal.of("task-revoked", uuid=uuid)
    assert (event["terminated"], event["signum"]) == (True, signum)


@pytest.mark.parametrize(
    ("rate", "per_second"), [("30/m", 0.5), ("2", 2), (3, 3), ("7/h", 7 / 3600)]
)
def test_rates_are_limited(worker, rate, per_second):
    name = "shop.mail.send"
    arguments = {"task_name": name, "rate_limit": rate}
    assert "ok" in answer(worker, "rate_limit", arguments)
    assert worker.rate_limits[name] == pytest.approx(per_second)
    answer(worker, "rate_limit", {"task_name": name, "rate_limit": 0})
    assert not worker.rate_limits[name]


def test_times_are_limited(worker):
    name = "shop.mail.send"
    assert "ok" in answer(worker, "time_limit", {"task_name": name, "hard": 3})
    assert worker.time_limits == {name: 3}
    answer(worker, "time_limit", {"task_name": name, "soft": 3})
    assert worker.time_limits == {}


def test_the_pool_grows_and_shrinks(worker):
    before = worker.concurrency
    answer(worker, "pool_grow", {"n": 3})
    assert worker.concurrency == before + 3
    answer(worker, "pool_shrink", {})
    assert worker.concurrency == before + 2


def test_queues_are_added_and_left(worker):
    assert "ok" in answer(worker, "add_consumer", {"queue": "mail", "exchange": ""})
    assert "ok" in answer(worker, "cancel_consumer", {"queue": "images"})
    names = [queue["name"] for queue in answer(worker, "active_queues", {})]
    assert names == ["mail"]


def test_events_are_switched(worker):
    assert "ok" in answer(worker, "disable_events", {})
    assert not worker.tells
    assert "ok" in answer(worker, "enable_events", {})
    assert worker.tells


def test_a_worker_that_is_shut_down_comes_back_later(rehearsal, worker):
    assert answer(worker, "shutdown", {}) is None
    rehearsal.play(15)
    assert not worker.up
    rehearsal.play(AWAY)
    assert worker.up
    assert "shutdown" in SILENT


def test_a_heartbeat_is_sent_on_request(rehearsal, worker):
    assert answer(worker, "heartbeat", {}) is None
    assert rehearsal.events[-1]["type"] == "worker-heartbeat"


def test_what_it_does_can_be_inspected(worker, uuid):
    worker.queues.clear()
    (active,) = [task for task in answer(worker, "active", {"safe": True}) if task["id"] == uuid]
    assert active["name"] == "shop.images.thumbnail"
    assert active["delivery_info"]["routing_key"] == "images"
    waiting = [task["id"] for task in answer(worker, "reserved", {})]
    assert waiting == list(worker.received)
    assert answer(worker, "registered", {}) == sorted(BY_NAME)
    stats = answer(worker, "stats", {})
    assert stats["pool"]["max-concurrency"] == worker.concurrency
    assert stats["total"] == {"shop": worker.processed}


def test_there_is_all_that_evtop_sends():
    assert set(COMMANDS) >= {
        *("revoke", "terminate", "rate_limit", "time_limit", "shutdown"),
        *("pool_grow", "pool_shrink", "autoscale", "enable_events"),
        *("disable_events", "add_consumer", "cancel_consumer", "ping", "heartbeat"),
    }
