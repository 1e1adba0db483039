import pytest

from evtools.errors import UsageError
from evtools.state import State
from evtools.top.request import Call, prepare
from tools.clock import FakeClock

NOW = 1000.0


def beat(name, **fields):
    return {
        "type": "worker-heartbeat",
        "hostname": name,
        "timestamp": NOW,
        "local_received": NOW,
        "freq": 2.0,
        "pid": 1,
        "clock": 1,
        "active": 0,
        "processed": 0,
        **fields,
    }


def task(kind, uuid, **fields):
    return {
        "type": f"task-{kind}",
        "uuid": uuid,
        "hostname": "w1@h",
        "timestamp": NOW,
        "local_received": NOW,
        "clock": 1,
        "pid": 1,
        **fields,
    }


@pytest.fixture
def state():
    state = State(clock=FakeClock(NOW))
    state.apply(
        [
            beat("w1@h"),
            beat("w2@h"),
            beat("w3@h") | {"type": "worker-offline"},
            task("received", "7a8b8d37-1", name="proj.\x1bcharge"),
            task("started", "7a8b8d37-1"),
        ]
    )
    return state


def ask(state, command, *targets, now=NOW, **answers):
    return prepare(state, command, targets, now=now).answered(answers)


def test_a_task_is_described_by_type_id_worker_and_state(state):
    request = ask(state, "revoke", "7a8b8d37-1")
    assert request.labels == ("proj.\\x1bcharge 7a8b8d37 on w1@h, STARTED",)
    assert request.summary == "task proj.\\x1bcharge 7a8b8d37 on w1@h, STARTED"


def test_what_is_not_known_is_described_by_its_id(state):
    assert ask(state, "revoke", "\x1b[2Jid").labels == ("\\x1b[2Jid",)
    assert ask(state, "ping", "w9@h").labels == ("w9@h",)


def test_a_worker_is_described_with_its_status(state):
    assert ask(state, "ping", "w1@h").labels == ("w1@h, online",)
    assert ask(state, "ping", "w3@h").labels == ("w3@h, offline",)


def test_a_task_before_its_worker_and_name_are_known(state):
    state.apply([task("sent", "u9", hostname="gen1@c")])
    [label] = ask(state, "revoke", "u9").labels
    assert label == "? u9, PENDING"


def test_many_targets_are_counted(state):
    request = ask(state, "revoke", "a", "b", "a")
    assert request.targets == ("a", "b")
    assert request.summary == "2 tasks"


def test_labels_are_bounded(state):
    assert len(ask(state, "queue-cancel", "q" * 10_000).labels[0]) == 200


# --- confirmation -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "targets", "word"),
    [
        ("ping", ["w1@h"], ""),
        ("revoke", ["a"], "y"),
        ("revoke", ["a", "b"], "2"),
        ("shutdown", ["w1@h"], "w1@h"),
        ("shutdown", ["w1@h", "w2@h"], "2"),
        ("queue-cancel", ["mail"], "mail"),
    ],
)
def test_the_more_harm_the_more_must_be_typed(state, command, targets, word):
    request = prepare(state, command, targets, now=NOW)
    assert request.confirmation == word
    assert request.is_confirmed(f" {word} ")
    assert not request.is_confirmed("n")


# --- what is sent -----------------------------------------------------------------


def test_many_tasks_are_revoked_with_one_command_to_all_workers(state):
    [call] = ask(state, "revoke", "a", "b").calls()
    assert call == Call("revoke", {"task_id": ["a", "b"]}, None, 2)


def test_a_task_is_terminated_with_the_signal_chosen(state):
    [call] = ask(state, "terminate", "a", signal="SIGKILL").calls()
    assert call.arguments == {"task_id": ["a"], "terminate": True, "signal": "SIGKILL"}


def test_a_task_is_terminated_gently_by_default(state):
    [call] = ask(state, "terminate", "a").calls()
    assert call.arguments["signal"] == "SIGTERM"


def test_each_type_is_limited_by_a_command_of_its_own(state):
    calls = ask(state, "rate-limit", "x", "y", rate_limit="10/m").calls()
    assert [call.arguments for call in calls] == [
        {"task_name": "x", "rate_limit": "10/m"},
        {"task_name": "y", "rate_limit": "10/m"},
    ]


def test_times_are_limited_in_seconds(state):
    [call] = ask(state, "time-limit", "x", soft="30s", hard="1m").calls()
    limits = {"task_name": "x", "soft": 30, "hard": 60}
    assert call == Call("time_limit", limits, None, 2)


def test_what_concerns_workers_is_sent_to_them_alone(state):
    [call] = ask(state, "pool-grow", "w1@h", "w2@h", n="2").calls()
    assert call == Call("pool_grow", {"n": 2}, ("w1@h", "w2@h"), 2)


def test_nobody_is_expected_to_answer_a_shutdown(state):
    [call] = ask(state, "shutdown", "w1@h").calls()
    assert call == Call("shutdown", {}, ("w1@h",), 0)


def test_a_queue_is_given_to_one_worker_and_taken_from_all(state):
    [call] = ask(state, "queue-add", "mail", worker="w2@h").calls()
    assert call == Call("add_consumer", {"queue": "mail"}, ("w2@h",), 1)
    [call] = ask(state, "queue-cancel", "mail").calls()
    assert call == Call("cancel_consumer", {"queue": "mail"}, None, 2)


def test_where_no_worker_is_known_nobody_knows_how_many_answer():
    [call] = ask(State(clock=FakeClock(NOW)), "revoke", "a").calls()
    assert call.expected is None


# --- what is refused --------------------------------------------------------------


def test_a_bad_answer_is_refused_with_what_would_be_good(state):
    with pytest.raises(UsageError, match='rate: "fast" is no rate') as caught:
        ask(state, "rate-limit", "x", rate_limit="fast")
    assert "10/s" in caught.value.hint


def test_answers_that_contradict_each_other_are_refused(state):
    with pytest.raises(UsageError, match="must be shorter"):
        ask(state, "time-limit", "x", soft="2m", hard="1m")


def test_without_a_target_or_action_there_is_no_request(state):
    with pytest.raises(UsageError, match="revoke: there is nothing to do it to"):
        prepare(state, "revoke", [], now=NOW)
    with pytest.raises(UsageError, match="there is no action explode"):
        prepare(state, "explode", ["a"], now=NOW)
