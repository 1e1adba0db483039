"""evtop, started after its work: what no event says any more the workers say when asked."""

import ast
import json

import pytest

from servers.process import wait_until


@pytest.fixture
def busy(worker, broker_url, event_exchange):
    """Return a worker with two tasks that run, some that are reserved and one with an ETA."""
    made = worker(broker_url, event_exchange=event_exchange, concurrency=2)
    send, inspect = made.app.send_task, made.app.control.inspect
    send("cluster.add", args=(1, 2), countdown=600)
    for _ in range(6):
        send("cluster.occupy", args=(60,))
    found = {}

    def is_full():
        asked = inspect([made.hostname], timeout=3)
        for command in ("active", "reserved", "scheduled"):
            found[command] = (getattr(asked, command)() or {}).get(made.hostname, [])
        return len(found["active"]) == 2 and found["scheduled"]

    wait_until(is_full, deadline=60, what="the worker to be busy")
    made.found = found
    return made


def batch(evtop, worker, view, *options):
    process = evtop(
        *("-b", worker.broker_url, "--event-exchange", worker.event_exchange),
        *("-B", "-d", "5s", "--view", view, "-o", "json", *options),
        terminal=None,
    )
    assert process.wait(deadline=30) == 0
    return [json.loads(line) for line in process.stdout.splitlines()]


def test_tasks_and_workers_are_as_celery_inspect_has_them(evtop, busy):
    rows = {row["uuid"]: row for row in batch(evtop, busy, "tasks")}
    inspected = {}
    for command, tasks in busy.found.items():
        for item in tasks:
            task = item["request"] if command == "scheduled" else item
            inspected[task["id"]] = (command, task)
    assert rows.keys() == inspected.keys()
    for uuid, (command, task) in inspected.items():
        row = rows[uuid]
        assert row["state"] == ("STARTED" if command == "active" else "RECEIVED")
        assert (row["name"], row["hostname"]) == (task["name"], busy.hostname)
        assert list(ast.literal_eval(row["args"])) == task["args"]
        assert ast.literal_eval(row["kwargs"]) == task["kwargs"]
        assert row["queue"] == busy.queue
        if command == "active":
            assert row["started"] == pytest.approx(task["time_start"])
    [row] = batch(evtop, busy, "workers")
    assert (row["pool"], row["queues"], row["active"]) == (2, [busy.queue], 2)
    [row] = [row for row in batch(evtop, busy, "types") if row["name"] == "cluster.occupy"]
    assert row["active"] == 2


@pytest.mark.parametrize("option", ["--no-ask", "--read-only"])
def test_nothing_is_asked_where_it_is_not_wanted(evtop, worker, redis_url, option):
    made = worker(redis_url)
    process = evtop(
        *("-b", redis_url, "-B", "-d", "3s", "--view", "workers", "-o", "json", option),
        terminal=None,
    )
    assert process.wait(deadline=30) == 0
    [row] = map(json.loads, process.stdout.splitlines())
    assert (row["worker"], row["pool"], row["queues"]) == (made.hostname, None, None)


def test_a_task_of_a_worker_that_was_killed_is_lost_once_the_next_one_says_so(
    evtop, worker, broker_url, event_exchange, celery_capture
):
    made = worker(broker_url, event_exchange=event_exchange)
    capture = celery_capture(broker_url, event_exchange)
    watching = evtop(
        *("-b", broker_url, "--event-exchange", event_exchange, "name:occupy", "--ascii"),
        terminal=(120, 32),
    )
    watching.wait_ready()
    uuid = made.app.send_task("cluster.occupy", args=(300,)).id
    capture.wait_for(type="task-started", uuid=uuid)
    watching.wait_screen("RUN ")
    made.kill()
    made.start()
    watching.wait_screen("LOST ", deadline=60)
    watching.press("i")
    watching.wait_screen(f"LOST ({made.hostname} said at ")
    assert "that it does not have it) on" in watching.screen()
    watching.press("Q")
    assert watching.wait() == 0
