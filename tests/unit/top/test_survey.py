"""What is asked of the workers and when, and what is known by their answers."""

from itertools import pairwise
from threading import Semaphore
from types import SimpleNamespace

import pytest

import evtools.top.survey as module
from evtools.clock import SystemClock
from evtools.state import State, Statistics
from evtools.state.inspection import pool_size
from evtools.top.survey import PAGE_COMMANDS, Answer, Inquiry, Inspector, Survey
from evtools.transport import ConnectionSettings
from evtools.wire.redact import redactor
from tools.asked import ACTIVE, QUEUES, STATS, AskedWorkers
from tools.told import OTHER, UUID, WORKER, life, told


@pytest.fixture
def workers():
    return AskedWorkers()


@pytest.fixture
def state():
    return State()


@pytest.fixture
def survey(workers, state):
    return Survey(workers, state, Statistics())


def commands(workers):
    return [one.command for one in workers.take_inquiries()]


def test_all_are_asked_once_at_first_and_rarely_after_that(survey, workers, state):
    survey.go_on(10.0)
    assert commands(workers) == []
    survey.begin(10.0)
    assert sorted({one.destination for one in workers.inquiries}) == [None]
    workers.answer_all(stats={WORKER: STATS}, active_queues={WORKER: QUEUES})
    assert not survey.is_done
    assert survey.take(11.0)
    assert survey.is_done
    facts = survey.workers[WORKER]
    assert (facts.pool, facts.pid, facts.queues) == (4, 77, ("mail", "celery"))
    asked = 0
    for second in range(600):
        at = 11.0 + second
        state.apply([told("worker-heartbeat", at)])
        survey.go_on(at)
        asked += len(workers.inquiries)
        workers.answer_all()
        survey.take(at)
    assert 10 <= asked <= 30


def test_tasks_that_workers_name_are_in_the_state_once_their_worker_is_known(
    survey, workers, state
):
    survey.begin(10.0)
    workers.answer("active", {WORKER: [ACTIVE]})
    survey.take(11.0)
    assert not state.tasks
    state.apply([told("worker-heartbeat", 11.0)])
    assert survey.take(12.0)
    task = state.tasks[UUID]
    assert (task.name, task.state, task.started) == ("shop.pay", "STARTED", 11.0)
    [row] = survey._statistics.types("5m", 13.0)
    assert (row.name, row.running) == ("shop.pay", 1)


def test_what_is_not_taken_is_handed_over_when_the_question_is_over(monkeypatch):
    monkeypatch.setattr(module, "_ANSWERS_MAX", 5)
    woken = Semaphore(0)
    clock, settings = SystemClock(), ConnectionSettings(urls="memory://asked")
    inspector = Inspector(settings, woken.release, clock=clock)
    for _ in range(20):
        inspector.ask(Inquiry("stats", deadline=0.0))
    assert all(woken.acquire(timeout=30) for _ in range(20))
    answers = [inspector.take() for _ in range(21)]
    inspector.close()
    assert [answer.over for answer in answers[:-1]] == [True] * 20
    assert answers[-1] is None


@pytest.mark.parametrize(("lost", "error"), [(1, ""), (2, "gone")])
def test_a_question_over_a_connection_that_was_lost_is_put_once_more(monkeypatch, lost, error):
    made, woken = [], Semaphore(0)

    class Channel:
        def __init__(self, _):
            made.append(self)

        def ask(self, *_, **__):
            return SimpleNamespace(left=False, replied=1, take_new=lambda: {WORKER: "pong"})

        def drain(self, _):
            if len(made) <= lost:
                raise OSError("gone")

        def close(self):
            pass

    monkeypatch.setattr(module, "ControlChannel", Channel)
    settings = ConnectionSettings(urls="redis://asked")
    inspector = Inspector(settings, woken.release, clock=SystemClock())
    inspector.ask(Inquiry("ping"))
    assert woken.acquire(timeout=30)
    answer = inspector.take()
    inspector.close()
    assert error in answer.error
    assert bool(answer.error) is bool(error)


def test_what_is_due_is_looked_for_now_and_then_also_where_there_was_nothing(
    survey, workers, state
):
    survey.begin(10.0)
    workers.answer_all(stats={WORKER: STATS})
    survey.take(11.0)
    state.apply([told("worker-heartbeat", 11.0)])
    survey.go_on(20.0)
    state.apply([*life("started", start=20.0), told("worker-heartbeat", 20.0, hostname=OTHER)])
    survey.go_on(21.0)
    assert commands(workers) == []
    survey.go_on(23.0)
    assert commands(workers) == ["query_task"]


def test_a_worker_that_appears_is_asked_by_its_name(survey, workers, state):
    survey.begin(10.0)
    workers.answer_all(stats={WORKER: STATS})
    survey.take(11.0)
    state.apply([told("worker-heartbeat", 20.0), told("worker-heartbeat", 20.0, hostname=OTHER)])
    survey.go_on(21.0)
    assert {one.destination for one in workers.inquiries} == {(OTHER,)}
    assert len(workers.take_inquiries()) == 5


def test_a_task_without_a_name_is_asked_about_once(survey, workers, state):
    survey.begin(10.0)
    workers.answer_all(stats={WORKER: STATS})
    state.apply([told("worker-heartbeat", 10.0), *life("started", start=11.0)])
    survey.take(12.0)
    survey.go_on(13.0)
    [inquiry] = workers.inquiries
    assert (inquiry.command, inquiry.arguments) == ("query_task", {"ids": [UUID]})
    assert inquiry.destination == (WORKER,)
    workers.answer_all(query_task={WORKER: {UUID: ["active", ACTIVE]}})
    survey.take(13.5)
    assert (state.tasks[UUID].name, state.tasks[UUID].started) == ("shop.pay", 11.0)
    for second in range(14, 40):
        survey.go_on(float(second))
    assert commands(workers) == []


def test_a_task_that_may_be_lost_is_asked_about_until_that_is_settled(survey, workers, state):
    state.apply([told("worker-heartbeat", 10.0), *life("received", "started")])
    state.apply(told("worker-heartbeat", at, pid=78) for at in range(20, 61, 2))
    survey.begin(60.0)
    workers.answer_all(stats={WORKER: STATS})
    survey.take(60.0)
    task, asked = state.tasks[UUID], []
    for now in (float(second) for second in range(61, 400)):
        state.apply([told("worker-heartbeat", now, pid=78, local_received=now)])
        survey.go_on(now)
        asked += [now for one in workers.inquiries if one.command == "query_task"]
        # What is no answer settles nothing.
        answer = {"error": "KeyError()"} if len(asked) < 5 else {}
        workers.answer_all(query_task={WORKER: answer})
        survey.take(now)
        assert task.missing_at(now) == (asked[4] if len(asked) == 5 else None)
    assert asked[0] == 61.0
    for (before, after), pause in zip(pairwise(asked), (5, 20, 60, 60), strict=True):
        assert pause <= after - before <= pause + 4


def test_a_worker_that_answers_is_there_and_what_it_has_is_asked_for(survey, workers, state):
    state.apply([told("worker-heartbeat", 10.0), *life("received", "started")])
    state.workers[WORKER].begins = False
    survey.begin(11.0)
    workers.answer_all()
    survey.take(11.0)
    assert state.workers[WORKER].status(100.0) == "gone"
    survey.go_on(100.0)
    [inquiry] = [one for one in workers.inquiries if one.destination == (WORKER,)]
    assert inquiry.command == "stats"
    workers.inquiries.remove(inquiry)
    workers.answer_all()
    workers.answers.append(Answer(inquiry, {WORKER: STATS}, 100.0))
    survey.take(100.0)
    assert state.workers[WORKER].status(100.0) == "online"
    survey.go_on(103.0)
    assert [one.arguments for one in workers.inquiries if one.command == "query_task"] == [
        {"ids": [UUID]}
    ]


def test_what_workers_answer_is_bounded_and_may_be_anything(survey, workers):
    survey.begin(10.0)
    assert pool_size({"pool": {"max-concurrency": 10**400}}) is None
    for command in ("stats", "active_queues", "active", "reserved", "scheduled"):
        for odd in (None, 7, "x", [], [None], {}, {"pool": 7}, {"error": "x"}, [{"name": 7}]):
            workers.answer(command, {WORKER: odd}, over=False)
    workers.answer("stats", {f"w{number}@x": STATS for number in range(6000)})
    workers.answer("active", {f"w{number}@x": [ACTIVE] for number in range(6000)})
    survey.take(11.0)
    facts = survey.workers[WORKER]
    assert (facts.pool, facts.queues) == (None, ())
    assert len(survey.workers) <= 5000
    assert len(survey._early) <= 5000


def test_why_the_workers_cannot_be_asked_is_known(survey, workers):
    survey.begin(10.0)
    workers.answer("stats", {}, error="we may not publish")
    survey.take(11.0)
    assert survey.error == "we may not publish"


def test_the_page_of_a_worker_is_asked_for_and_then_what_is_looked_at(survey, workers, state):
    survey.begin(10.0)
    workers.answer_all(stats={WORKER: STATS})
    survey.take(10.0)
    survey.look_at(WORKER, ["active"], 10.5)
    assert commands(workers) == ["active"]
    survey.look_at(WORKER, ["active"], 11.0)
    asked = workers.inquiries
    assert {one.destination for one in asked} == {(WORKER,)}
    assert {"active", *(one.command for one in asked)} == {*PAGE_COMMANDS}
    workers.answer_all(stats={WORKER: STATS}, conf={WORKER: {"x": 1}})
    survey.take(11.5)
    assert survey.replies.keys() == {"stats", "conf"}
    assert survey.replies["conf"].value == {"x": 1}
    for second in range(12, 31):
        survey.look_at(WORKER, ["active"], float(second))
    assert commands(workers) == ["active"] * 3
    survey.look_at(OTHER, ["active"], 31.0)
    assert not survey.replies
    assert {one.destination for one in workers.take_inquiries()} == {(OTHER,)}
    survey.close_page()
    assert survey.page == ""


def test_how_many_replied_is_of_the_workers_that_are_there(survey, workers, state):
    nodes = [f"w{number}@x" for number in range(5)]
    state.apply([told("worker-heartbeat", 10.0, hostname=node) for node in nodes])
    survey.begin(10.0)
    workers.answer_all(stats=dict.fromkeys(nodes, STATS))
    survey.take(11.0)
    assert (survey.replied, survey.expected) == (5, 5)
    state.apply([told("worker-heartbeat", 70.0, hostname=node) for node in nodes])
    survey.go_on(71.0)
    assert {one.expected for one in workers.inquiries} == {5}
    workers.answer_all(stats=dict.fromkeys(nodes[:3], STATS))
    survey.take(73.0)
    assert (survey.replied, survey.expected) == (3, 5)


def test_what_is_to_be_masked_is_masked_in_answers_too(workers, state):
    survey = Survey(workers, state, Statistics(), redactor(["password", "/s3cret\\d/"]))
    survey.begin(10.0)
    state.apply([told("worker-heartbeat", 10.0)])
    secret = {**ACTIVE, "args": "('s3cret1',)", "kwargs": "{'password': 'geheim'}"}
    nested = {**secret, "id": "other", "args": ["s3cret2"], "kwargs": {"password": "geheim"}}
    workers.answer("active", {WORKER: [secret]})
    workers.answer("reserved", {WORKER: [nested]})
    workers.answer("active_queues", {WORKER: [{"name": "for-s3cret1"}]})
    survey.look_at(WORKER, ["reserved"], 10.0)
    survey.take(11.0)
    shown = [task.args + task.kwargs for task in state.tasks.values()]
    shown.append(repr(survey.replies))
    assert len(shown) == 3
    assert not [text for text in shown if "s3cret1" in text or "s3cret2" in text]
    assert not [text for text in shown if "geheim" in text]
    facts = survey.workers[WORKER]  # the name is needed to send something there
    assert (facts.queues, facts.shown_queues) == (("for-s3cret1",), ("for-***",))
