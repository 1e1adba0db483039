import pytest

from evtools.transport.demo import stage
from evtools.transport.demo.kinds import QUEUES
from evtools.wire import MissedTasks
from tools.rehearsal import Rehearsal


@pytest.fixture(scope="module")
def played():
    return Rehearsal().play(300)


def test_a_seed_decides_what_happens():
    assert Rehearsal().play(60).events == Rehearsal().play(60).events
    assert Rehearsal().play(60).events != Rehearsal(seed=2).play(60).events


def test_it_makes_no_difference_how_often_one_looks():
    at_once, in_steps = Rehearsal().play(60), Rehearsal()
    for _ in range(600):
        in_steps.play(0.1)
    assert in_steps.events[:-20] == at_once.events[: len(in_steps.events) - 20]


def test_clients_send_at_their_rate(played):
    sent = [e for e in played.of("task-sent", retries=0) if e["parent_id"] is None]
    assert len(sent) / 300 == pytest.approx(5.0, rel=0.1)
    assert {event["queue"] for event in played.of("task-sent")} == set(QUEUES)


def test_all_that_a_view_can_show_happens(played):
    assert set(played.kinds()) == {
        *("task-sent", "task-received", "task-started", "task-succeeded"),
        *("task-failed", "task-retried", "task-revoked", "task-rejected"),
        *("task-progress", "worker-online", "worker-heartbeat", "worker-offline"),
    }
    revoked = played.of("task-revoked")
    assert {(e["terminated"], e["expired"]) for e in revoked} == {
        *((False, False), (True, False), (False, True))
    }
    assert {e["requeue"] for e in played.of("task-rejected")} == {True, False}


def test_a_first_look_has_something_to_see():
    first = Rehearsal().play(0.5).kinds()
    assert first["worker-online"] == 5
    assert first["task-sent"] >= 1
    soon = Rehearsal().play(20).kinds()
    assert {"task-failed", "task-retried", "task-progress"} <= set(soon)


def test_some_retries_succeed_and_some_are_given_up(played):
    retried = {event["uuid"] for event in played.of("task-retried")}
    ends = {
        event["type"]
        for event in played.of("task-succeeded", "task-failed")
        if event["uuid"] in retried
    }
    assert ends == {"task-succeeded", "task-failed"}
    assert any(
        event["exception"].startswith("MaxRetriesExceededError")
        for event in played.of("task-failed")
    )


def test_workflows_are_trees_of_three_generations(played):
    told = {event["uuid"]: event for event in played.of("task-sent")}
    generations = [
        (event["name"], told[event["parent_id"]]["name"])
        for event in told.values()
        if event["parent_id"]
    ]
    assert set(generations) == {
        ("shop.orders.pack", "shop.orders.fulfil"),
        ("shop.orders.label", "shop.orders.pack"),
    }
    for event in played.of("task-sent", name="shop.orders.label"):
        assert told[event["root_id"]]["name"] == "shop.orders.fulfil"


def test_nothing_seems_to_be_missing(played):
    missed = MissedTasks()
    assert sum(map(missed.observe, played.events)) == 0


def test_a_queue_that_nobody_serves_drops_the_oldest():
    rehearsal = Rehearsal(cast=(), rate=1000.0)
    rehearsal.play(20)
    lengths = [len(queue) for queue in rehearsal.stage._queues.values()]
    assert max(lengths) == stage.QUEUE_MAX


def test_process_ids_are_new_each_time():
    a_stage = Rehearsal().stage
    pids = [a_stage.new_pid() for _ in range(100)]
    assert len({pid + offset for pid in pids for offset in (0, 1)}) == 200
