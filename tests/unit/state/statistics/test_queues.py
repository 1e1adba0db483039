from evtools.state.statistics import OTHERS, UNKNOWN, queues
from evtools.state.statistics.queues import NO_SENT, NOT_SENT, TOO_MANY
from tools.watched import Watched


def test_what_is_sent_waits_until_a_worker_receives_it(watched):
    for number in range(5):
        watched.tell("sent", f"u{number}")
    assert watched.queue().backlog == 5
    watched.tell("received", "u0", after=1)
    watched.tell("received", "u1", after=1)
    queue = watched.queue()
    assert (queue.backlog, queue.backlog_reason) == (3, "")
    assert (queue.published, queue.received) == (5, 2)


def test_a_revoked_task_waits_no_longer(watched):
    for number, kind in enumerate(("revoked", "rejected", "failed", "started")):
        watched.tell("sent", f"u{number}")
        assert watched.queue().backlog == 1
        watched.tell(kind, f"u{number}", after=1)
        assert watched.queue().backlog == 0


def test_what_came_together_leaves_nothing_behind(watched):
    watched.take(
        watched.event("sent", "u1"),
        watched.event("received", "u1"),
        watched.event("received", "u2"),
        watched.event("sent", "u2"),
    )
    queue = watched.queue()
    assert (queue.published, queue.received, queue.backlog) == (2, 2, 0)
    assert watched.queue(UNKNOWN) is None


def test_a_worker_may_be_quicker_than_the_client(watched):
    watched.tell("received", "u1")
    watched.tell("started", "u1", after=1)
    assert watched.queue(UNKNOWN).received == 1
    watched.tell("sent", "u1", timestamp=watched.now - 2)
    queue = watched.queue()
    assert (queue.published, queue.received, queue.backlog) == (1, 1, 0)
    assert watched.queue(UNKNOWN) is None


def test_a_retry_waits_again(watched):
    watched.tell("sent", "u1")
    watched.tell("received", "u1", after=1)
    watched.tell("started", "u1", after=1)
    watched.tell("sent", "u1", after=1, retries=1)
    assert watched.queue().backlog == 1
    watched.tell("received", "u1", after=1, retries=1)
    watched.tell("retried", "u1")
    assert watched.queue().backlog == 0
    assert watched.queue().received == 2


def test_a_backlog_outlives_what_the_state_can_hold(watched):
    watched.state.max_tasks_in_memory = 10
    for number in range(50):
        watched.tell("sent", f"u{number}")
    assert watched.queue().backlog == 50
    for number in range(50):
        watched.tell("received", f"u{number}", after=1)
    assert watched.queue().backlog == 0


def test_without_task_sent_nobody_knows_the_backlog(watched):
    watched.tell("received", "u1")
    row = watched.queue(UNKNOWN)
    assert (row.backlog, row.backlog_reason) == (None, NO_SENT)
    assert row.received == 1
    watched.tell("sent", "u2")
    row = watched.queue(UNKNOWN)
    assert (row.backlog, row.backlog_reason) == (None, NOT_SENT)


def test_a_task_may_be_sent_to_no_queue_by_name(watched):
    watched.tell("sent", "u1", queue=None)
    row = watched.queue(UNKNOWN)
    assert (row.published, row.backlog, row.backlog_reason) == (1, None, NOT_SENT)


def test_workers_that_received_lately_are_consumers(watched):
    for number, host in enumerate(("w1", "w2", "w1")):
        watched.tell("sent", f"u{number}")
        watched.tell("received", f"u{number}", after=1, host=host)
    assert watched.queue(window="1m").consumers == 2
    watched.tell("sent", "u9", after=100)
    watched.tell("received", "u9", host="w3")
    assert watched.queue(window="1m").consumers == 1
    assert watched.queue(window="5m").consumers == 3


def test_a_worker_without_a_name_is_no_consumer(watched):
    watched.tell("sent", "u1")
    watched.tell("received", "u1", host=None)
    queue = watched.queue()
    assert (queue.received, queue.consumers) == (1, 0)


def test_more_workers_than_can_be_told_apart_share_their_places(watched, monkeypatch):
    monkeypatch.setattr(queues, "_WORKERS_MAX", 3)
    for number in range(10):
        watched.tell("sent", f"u{number}")
        watched.tell("received", f"u{number}", host=f"w{number}")
    assert watched.queue().consumers == 3


def test_a_longer_queue_than_can_be_followed_is_said_to_be_longer(watched, monkeypatch):
    monkeypatch.setattr(queues, "WAITING_MAX", 3)
    for number in range(5):
        watched.tell("sent", f"u{number}")
    queue = watched.queue()
    assert (queue.backlog, queue.backlog_reason) == (3, TOO_MANY)


def test_tasks_of_unknown_queues_are_remembered_up_to_a_number(watched, monkeypatch):
    monkeypatch.setattr(queues, "_UNPLACED_MAX", 1)
    watched.tell("received", "u1")
    watched.tell("received", "u2")
    watched.tell("sent", "u1", timestamp=watched.now - 1)
    assert watched.queue(UNKNOWN).received == 2
    watched.tell("sent", "u2", timestamp=watched.now - 1)
    assert watched.queue(UNKNOWN).received == 1


def test_queues_beyond_the_bound_are_counted_together():
    watched = Watched(max_queues=2)
    for number in range(4):
        watched.tell("sent", f"u{number}", queue=f"q{number}", after=10)
    rows = {row.name: row for row in watched.statistics.queues("5m", watched.now)}
    assert set(rows) == {"q2", "q3", OTHERS}
    assert (rows[OTHERS].published, rows[OTHERS].backlog) == (2, 2)


def test_memory_beside_the_windows_is_told(watched):
    before = watched.statistics._queues.weight_bytes()
    watched.tell("sent", "u1")
    watched.tell("received", "u2")
    assert watched.statistics._queues.weight_bytes() > before
