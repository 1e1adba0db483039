import pytest

from evtools.cam.ledger.notebook import Notebook
from evtools.state import State
from tools.told import OTHER, UUID, WORKER, life, told


def noted(*events, **how):
    notebook = Notebook(**how)
    notebook.observe(State().apply(events))
    return notebook.take()


def kinds(account):
    return [step.kind for step in account.steps]


def test_events_are_noted_by_task_and_by_worker():
    notes = noted(
        *life("sent", "received"),
        told("task-received", uuid="other", hostname=OTHER),
        told("worker-heartbeat", 20.0),
    )
    assert set(notes.tasks) == {UUID, "other"}
    assert kinds(notes.tasks[UUID]) == ["task-sent", "task-received"]
    assert (notes.tasks[UUID].first, notes.tasks[UUID].last) == (10.25, 11.25)
    assert {name: each.last for name, each in notes.workers.items()} == {
        WORKER: 20.25,
        OTHER: 10.25,
    }
    assert list(notes.workers[WORKER].told) == ["worker-heartbeat"]
    assert (notes.events, notes.lost) == (3, 0)


def test_what_was_taken_is_gone():
    notebook = Notebook()
    notebook.observe(State().apply(life("sent")))
    assert notebook.take().tasks
    assert not notebook.take().tasks


@pytest.mark.parametrize(
    "event",
    [
        {"type": "task-sent"},
        {"type": "other-thing", "uuid": "u"},
        {"type": "worker-online"},
        {"type": "worker-x", "hostname": 3},
    ],
)
def test_what_is_about_nobody_is_not_noted(event):
    notes = noted(event)
    assert [notes.tasks, notes.workers, notes.events] == [{}, {}, 0]


def test_a_custom_event_is_a_note_and_the_newest_counts():
    new, old = told("task-progress", 12.0, done=2), told("task-progress", 11.0, done=1)
    for events in ((new, old), (old, new)):
        account = noted(*events).tasks[UUID]
        assert account.note.fields == {"done": 2}
        assert not account.steps


def test_fields_of_its_own_are_noted_by_time():
    events = [told("task-received", 12.0, zone="eu"), told("task-sent", 11.0, zone="us", rack=3)]
    assert noted(*events).tasks[UUID].extra == {"zone": (12.0, "eu"), "rack": (11.0, 3)}


def test_keys_are_what_a_database_takes():
    notes = noted(told("task-started", uuid="u" * 300, hostname="h" * 300))
    assert {len(key) for key in (*notes.tasks, *notes.workers)} == {255}
    assert notes.tasks[next(iter(notes.tasks))].steps[0].values[0] in (notes.workers)


# --- workers -------------------------------------------------------------------------


def test_of_a_worker_the_newest_of_each_kind_is_noted():
    notes = noted(
        told("worker-heartbeat", 12.0, active=2),
        told("worker-heartbeat", 11.0, active=1),
        told("worker-online", 10.0),
        told("worker-custom", 14.0),
    )
    account = notes.workers[WORKER]
    assert {kind: each.at for kind, each in account.told.items()} == {
        "worker-heartbeat": 12.0,
        "worker-online": 10.0,
    }
    assert account.told["worker-heartbeat"].fields["active"] == 2
    assert account.last == 14.25


def test_the_answer_to_a_wake_up_tells_only_that_the_worker_is_there():
    notes = noted(told("worker-heartbeat", 10.0), told("worker-heartbeat", 12.0, processed=None))
    account = notes.workers[WORKER]
    assert (account.told["worker-heartbeat"].at, account.last) == (10.0, 12.25)


def test_a_client_is_no_worker():
    assert not noted(told("task-sent")).workers
    assert not noted(told("task-started", hostname=None)).workers


def test_there_are_no_more_workers_than_a_cluster_has():
    beats = [told("task-started", hostname=f"w{number}") for number in range(5001)]
    notes = noted(*beats)
    assert len(notes.workers) == 5000
    assert "w0" not in notes.workers


# --- coming back ---------------------------------------------------------------------


def test_what_comes_back_comes_before_what_came_meanwhile():
    notebook, state = Notebook(), State()
    notebook.observe(state.apply([*life("sent"), told("worker-online", 5.0)]))
    taken = notebook.take()
    later = [*life("received", "started"), told("task-sent", uuid="new")]
    notebook.observe(state.apply(later))
    notebook.restore(taken)
    notes = notebook.take()
    assert list(notes.tasks) == [UUID, "new"]
    assert sorted(kinds(notes.tasks[UUID])) == [*("task-received", "task-sent", "task-started")]
    assert list(notes.workers[WORKER].told) == ["worker-online"]
    assert notes.workers[WORKER].last == 11.25
    assert notes.events == 4
    assert notes.bytes > taken.tasks[UUID].weight


def test_what_never_gets_written_is_forgotten_from_the_oldest_on_and_counted():
    notebook, state = Notebook(max_bytes=100_000), State()
    for number in range(200):
        notebook.observe(state.apply(life("sent", "started", uuid=f"u{number}")))
        notebook.restore(notebook.take())
    notes = notebook.take()
    assert notes.bytes <= 100_000
    assert "u199" in notes.tasks
    assert "u0" not in notes.tasks
    assert notes.events == 2 * len(notes.tasks)
    assert notes.lost + notes.events == 400
    assert notes.bytes == sum(each.weight for each in notes.tasks.values()) + 4 * 4096


def test_what_does_not_fit_is_forgotten_at_once():
    notes = noted(*life("sent", "started"), told("task-x", 13.0), max_bytes=1)
    assert (notes.tasks, notes.events, notes.lost) == ({}, 0, 3)
