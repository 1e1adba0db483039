"""evtop, started after its work: what no event says any more the workers say when asked."""

import ast
import json
import re

import pytest

from servers.process import wait_until
from tools.depths import depth_of


@pytest.fixture
def busy(worker, broker_url, event_exchange):
    """Return a worker with two tasks that run, two that are reserved and one with an ETA."""
    made = worker(broker_url, event_exchange=event_exchange, concurrency=2)
    send, inspect = made.app.send_task, made.app.control.inspect
    send("cluster.add", args=(1, 2), countdown=600)
    for _ in range(6):
        send("cluster.occupy", args=(600,))
    found = {}

    def is_full():
        asked = inspect([made.hostname], timeout=3)
        for command in ("active", "reserved", "scheduled"):
            found[command] = (getattr(asked, command)() or {}).get(made.hostname, [])
        # As many as it takes: none comes between our question and the one of evtop.
        return [len(tasks) for tasks in found.values()] == [2, 2, 1]

    wait_until(is_full, deadline=60, what="the worker to be busy")
    made.found = found
    return made


def test_what_a_worker_does_is_seen_in_three_keys(evtop, busy, worker, broker_url):
    worker(broker_url, event_exchange=busy.event_exchange, name="another", queue=f"{busy.queue}-2")
    # In the middle of an incident: nothing of it is in events any more.
    watching = evtop(
        *("-b", busy.broker_url, "--event-exchange", busy.event_exchange), terminal=(80, 24)
    )
    watching.wait_screen("wk 2/2", deadline=30)
    watching.press("3")
    watching.wait_screen(busy.hostname)
    watching.press("j")
    watching.wait_screen(lambda screen: re.search(rf">{re.escape(busy.hostname)}.* 2/2", screen))
    watching.press("enter")
    tasks = (*busy.found["active"], *busy.found["reserved"])
    watching.wait_screen(
        lambda screen: (
            screen.count("cluster.occupy") >= len(tasks)
            and all(task["id"][:8] in screen for task in tasks)
            and "cluster.add" in screen
            and re.search(r"due in \d", screen)
        ),
        deadline=30,
    )
    watching.press("Q")
    assert watching.wait() == 0


def batch(evtop, worker, view, shows, *options):
    """Return the rows of a view once a worker, which may be late, has replied what `shows`."""

    def rows(text):
        return [json.loads(line) for line in text.splitlines() if line]

    process = evtop(
        *("-b", worker.broker_url, "--event-exchange", worker.event_exchange),
        *("-B", "-n", "0", "-d", "3s", "--view", view, "-o", "json", *options),
        terminal=None,
    )
    found = rows(process.wait_block(lambda text: shows(rows(text))))
    assert process.stop() == 0
    return found


def test_tasks_and_workers_are_as_celery_inspect_has_them(evtop, busy):
    inspected = {}
    for command, tasks in busy.found.items():
        for item in tasks:
            task = item["request"] if command == "scheduled" else item
            inspected[task["id"]] = (command, task)
    found = batch(evtop, busy, "tasks", lambda rows: len(rows) >= len(inspected))
    rows = {row["uuid"]: row for row in found}
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
    known = ("pool", "queues", "active")
    [row] = batch(
        evtop, busy, "workers",
        lambda rows: any(None not in [row[name] for name in known] for row in rows),
    )  # fmt: skip
    assert (row["pool"], row["queues"], row["active"]) == (2, [busy.queue], 2)
    batch(
        evtop, busy, "types",
        lambda rows: [row["active"] for row in rows if row["name"] == "cluster.occupy"] == [2],
    )  # fmt: skip


@pytest.mark.parametrize("option", ["--no-ask", "--read-only"])
def test_nothing_is_asked_where_it_is_not_wanted(evtop, worker, redis_url, option):
    made = worker(redis_url)
    process = evtop(
        *("-b", redis_url, "-B", "-n", "0", "-d", "3s", "--view", "workers", "-o", "json", option),
        terminal=None,
    )
    # By the second time it would have replied.
    wait_until(
        lambda: sum(made.hostname in text for text in process.stdout.split("\n\n")) == 2,
        deadline=30,
        what="the worker in two blocks",
    )
    assert process.stop() == 0
    rows = [json.loads(line) for line in process.stdout.splitlines() if line]
    assert {(row["worker"], row["pool"], row["queues"]) for row in rows} == {
        (made.hostname, None, None)
    }


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
    said = (f"LOST ({made.hostname} said at ", "that it does not have it) on")
    watching.wait_screen(lambda screen: all(text in screen for text in said))
    watching.press("Q")
    assert watching.wait() == 0


@pytest.mark.parametrize(
    ("broker", "size"), [("redis", (80, 24)), ("rabbitmq", (120, 32))], indirect=["broker"]
)
def test_a_queue_that_piled_up_before_says_who_consumes_it_and_when_it_is_empty(
    evtop, worker, broker, broker_url, event_exchange, size
):
    made = worker(broker_url, event_exchange=event_exchange, concurrency=1)
    made.app.conf.task_send_sent_event = False
    send, inspect = made.app.send_task, made.app.control.inspect
    slow = [send("cluster.occupy", args=(600,)).id for _ in range(2)]

    def is_full():
        asked = inspect([made.hostname], timeout=3)
        return all((asked.active() or {}).values()) and all((asked.reserved() or {}).values())

    wait_until(is_full, deadline=60, what="the worker to be busy")
    for number in range(150):
        send("cluster.occupy", args=(0.2,), priority=number % 10)
    wait_until(
        lambda: depth_of(broker, made.broker_url, made.queue)[0] == 150,
        what="all of them in the queue",
    )
    depth, unacked = depth_of(broker, made.broker_url, made.queue)
    where = ("-b", made.broker_url, "--event-exchange", made.event_exchange)
    watching = evtop(*where, terminal=size)
    watching.wait_ready()
    # Two keys: one for the table, one for the page.
    watching.press("4")
    few = "-" if unacked is None else unacked
    row = rf"{made.queue[:6]}\S* +{depth} +{few} +1 +\S+ +\S+ +0 +never"
    watching.wait_screen(lambda screen: re.search(row, screen), deadline=40)
    watching.press("enter")
    watching.wait_screen(f": {made.hostname}")
    if unacked is not None:
        watching.wait_screen("of 100: 100 cluster.occupy", deadline=20)
        assert depth_of(broker, made.broker_url, made.queue) == (depth, unacked), (
            "nothing was touched"
        )
    else:
        watching.wait_screen("RabbitMQ shows messages only by taking them", deadline=20)

    def named(rows):
        return [one for one in rows if one["name"] == made.queue]

    [found] = named(
        batch(
            evtop, made, "queues",
            lambda rows: any(
                one["net_per_min"] is not None and one["consumed_by"] for one in named(rows)
            ),
        )
    )  # fmt: skip
    assert (found["depth"], found["ready"], found["unacked"]) == (depth, depth, unacked)
    assert (found["consumers"], found["consumed_by"]) == (1, [made.hostname])
    assert (found["net_per_min"], found["empty_in"], found["in_rate"]) == (0.0, None, None)
    made.app.control.revoke(slow, terminate=True, signal="SIGKILL")
    watching.press("q")
    shrinks = rf"{made.queue[:6]}\S* +\d+ +\S+ +1 +\S+ +\d\S* +-\d\S* +\d+\S*s"
    watching.wait_screen(lambda screen: re.search(shrinks, screen), deadline=60)
    watching.press("Q")
    assert watching.wait() == 0


def test_a_report_on_a_worker_has_what_celery_inspect_reports(
    evtop, worker, broker_url, event_exchange
):
    made = worker(broker_url, event_exchange=event_exchange)
    watching = evtop(
        *("-b", broker_url, "--event-exchange", event_exchange, "--view", "workers"),
        terminal=(120, 32),
    )
    watching.wait_ready()
    watching.wait_screen(made.hostname)
    watching.press(":", *"report out.txt", "enter")
    watching.wait_screen("report in out.txt: 7 of 7 sections answered", deadline=30)
    text = (evtop.folder / "out.txt").read_text()
    inspected = made.app.control.inspect([made.hostname], timeout=20).report()[made.hostname]
    for line in inspected["ok"].strip().splitlines()[:5]:
        assert line in text
    assert "\ncluster.occupy" in text
    assert f"\n{made.queue}  exchange" in text
    password = broker_url.partition("://")[2].rpartition("@")[0].partition(":")[2]
    assert not password or f":{password}@" not in text
    watching.press("Q")
    assert watching.wait() == 0
