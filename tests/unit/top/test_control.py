"""Changes to the cluster: from the key to the command that workers get, and the log."""

import getpass
import json
import logging
import os
import socket
import threading

import pytest

from evtools.clock import SystemClock
from evtools.errors import UsageError
from evtools.state import State
from evtools.top.choices import VIEWS
from evtools.top.control import (
    ACTIONS,
    BY_NAME,
    ControlClient,
    Outcome,
    Reply,
    actions_for,
    log_outcome,
    prepare,
    replies_of,
    target_of,
    user,
)
from evtools.top.keys import BINDINGS
from evtools.transport import ConnectionSettings, Replies
from tools.clock import FakeClock
from tools.life import Life
from tools.screen import FakeTerminal

# --- keys, questions, dialogs -------------------------------------------------------------


@pytest.fixture
def terminal():
    """Return a terminal with 40 tasks; every fifth failed."""
    made = FakeTerminal()
    for number in range(40):
        kind = made.life.success if number % 5 else made.life.failure
        made.take(kind(f"id{number:02}", f"proj.task{number % 3}"))
    return made


@pytest.fixture
def sent(terminal):
    """Return the requests that were sent."""
    return terminal.control.submitted


def dialog(terminal):
    layer = terminal.session.layer
    return ["".join(text for _, text in line) for line in layer.box((100, 40)).lines]


@pytest.mark.parametrize(
    "keys", [["C", "y"], ["C", "right", "enter"], ["C", "x", "Y", "tab", "enter"], ["a", "C", "y"]]
)
def test_a_task_is_revoked_after_it_was_confirmed(terminal, sent, keys):
    terminal.press(*keys)
    (request,) = sent
    assert request.action.name == "revoke"
    assert request.targets == ("id39",)
    assert terminal.message.endswith("sent ...")


@pytest.mark.parametrize(
    "keys", [["enter"], ["n"], ["esc"], ["q"], ["ctrl-c"], ["left", "right", "enter"]]
)
def test_everything_else_is_a_no(terminal, sent, keys):
    terminal.press("C", *keys)
    assert sent == []
    assert terminal.session.layer is None


def test_the_dialog_names_the_target_its_state_and_the_consequence(terminal):
    terminal.press("C")
    lines = "\n".join(dialog(terminal))
    assert "proj.task0 id39 on w1@host, SUCCESS" in lines
    assert "If it is already running, it goes on." in lines


def test_the_target_is_that_of_the_key_press(terminal, sent):
    terminal.press("C")
    terminal.take(terminal.life.success("newest", "proj.other"))
    assert terminal.session.table.focus_key == "newest"
    terminal.press("y")
    assert sent[0].targets == ("id39",)


def test_for_many_their_count_has_to_be_typed(terminal, sent):
    terminal.press("space", "space", "C")
    assert dialog(terminal)[-1] == "Type 2 to confirm: "
    terminal.press("y", "enter")
    assert sent == []
    terminal.press("C", "2", "enter")
    assert set(sent[0].targets) == {"id39", "id38"}


def test_of_very_many_targets_some_are_named(terminal):
    terminal.press(*(["space"] * 9), "C")
    assert "and 4 more" in dialog(terminal)


def test_a_termination_asks_for_the_signal(terminal, sent):
    terminal.press("K")
    assert "SIGTERM" in dialog(terminal)[0]
    terminal.press("2")
    assert "signal: SIGKILL" in dialog(terminal)
    terminal.press("y")
    assert sent[0].values == {"signal": "SIGKILL"}


def test_a_rate_is_asked_for_until_it_is_one(terminal, sent):
    terminal.press("L")
    assert terminal.lines()[-1].startswith("rate>")
    assert terminal.lines()[-2] == "Rate limit per worker (10/s, 100/m, 5/h; 0 = none):"
    terminal.write("fast")
    terminal.press("enter")
    assert 'invalid rate "fast"' in terminal.lines()[-2]
    terminal.press("ctrl-u")
    terminal.write("10/m")
    terminal.press("enter", "y")
    (request,) = sent
    assert request.targets == ("proj.task0",)
    assert request.values == {"rate_limit": "10/m"}


def test_leaving_a_question_leaves_everything(terminal, sent):
    terminal.press("L", "esc")
    assert terminal.session.layer is None
    assert sent == []


def test_answers_that_contradict_each_other_are_refused(terminal, sent):
    for soft in ("2m", ""):
        terminal.command("time-limit")
        terminal.write(soft)
        terminal.press("enter")
        terminal.write("1m")
        terminal.press("enter")
        if soft:
            assert "soft limit must be shorter" in terminal.message
    assert "soft limit: none" in dialog(terminal)
    assert sent == []


@pytest.fixture
def workers(terminal):
    terminal.take(terminal.life.beat("w1@host"))
    terminal.press("3")
    return terminal


@pytest.mark.parametrize(
    ("keys", "confirmed"),
    [
        ([*"w1@host", "enter"], True),
        ([*"w1@hostx", "backspace", "enter"], True),
        ([*"w1@hos", "enter"], False),
        (["y", "enter"], False),
        ([*"w1@host", "esc"], False),
    ],
)
def test_a_worker_is_shut_down_after_its_name_was_typed(workers, sent, keys, confirmed):
    workers.press("S")
    assert dialog(workers)[-1] == "Type w1@host to confirm: "
    workers.press(*keys)
    assert workers.session.layer is None
    assert [request.action.name for request in sent] == ["shutdown"] * confirmed


def test_a_ping_changes_nothing_and_is_not_asked_about(workers, sent):
    workers.command("ping")
    assert sent[0].action.name == "ping"
    assert workers.session.layer is None


def test_the_menu_has_the_actions_on_this_row_or_the_marks(terminal):
    terminal.press("a")
    lines = dialog(terminal)
    assert any("Revoke and terminate  (id39)" in line for line in lines)
    assert any("Limit the rate  (proj.task0)" in line for line in lines)
    assert not any("Shut down" in line for line in lines)
    terminal.press("esc", "space", "space", "space", "a")
    assert any("Revoke  (3 tasks)" in line for line in dialog(terminal))


def test_an_action_can_be_named(terminal, sent):
    terminal.command("actions revoke")
    terminal.press("y")
    assert sent
    terminal.command("actions dance")
    assert terminal.message == "there is no action dance"
    terminal.command("shutdown")
    assert terminal.message == "Shut down is not for tasks"


def test_without_a_row_there_is_no_action(terminal):
    terminal.command("filter state:retry")
    terminal.press("a")
    assert terminal.message == "there are no actions on this row"
    terminal.press("C")
    assert terminal.message == "revoke: no row to do it to"


@pytest.mark.parametrize("key", ["a", "C", "K", "L"])
def test_in_read_only_mode_nothing_is_even_asked(key):
    terminal = FakeTerminal(read_only=True)
    terminal.take(terminal.life.success("id00"))
    terminal.press(key)
    assert terminal.message.startswith("nothing is changed: read-only mode")
    assert terminal.session.layer is None


def test_a_client_that_refuses_has_its_error_shown(terminal):
    terminal.control.refuses = True
    terminal.press("C", "y")
    assert "read-only mode" in terminal.message


# --- the table of actions -----------------------------------------------------------------


def test_the_table_of_actions_is_consistent():
    assert len(BY_NAME) == len(ACTIONS)
    for view in VIEWS:
        keys = [action.key for action in actions_for(view)]
        assert keys
        assert len(keys) == len(set(keys))
    assert all(action.key.isupper() for action in ACTIONS)
    assert all(action.consequence.endswith(".") for action in ACTIONS)
    assert [a.name for a in ACTIONS if a.severity == "mild"] == ["ping"]
    assert [a.name for a in ACTIONS if a.severity == "severe"] == ["shutdown", "queue-cancel"]


def test_an_action_on_a_key_of_its_own_has_the_letter_of_the_menu():
    bound = {binding.command: binding.keys for binding in BINDINGS}
    both = bound.keys() & BY_NAME.keys()
    assert both >= {"revoke", "terminate", "rate-limit", "shutdown"}
    assert all(BY_NAME[name].key in bound[name] for name in both)


@pytest.mark.parametrize(
    ("action", "view", "target"),
    [
        ("revoke", "tasks", "KEY"),
        ("rate-limit", "tasks", "proj.add"),
        ("rate-limit", "types", "KEY"),
        ("shutdown", "workers", "KEY"),
        ("queue-cancel", "queues", "KEY"),
        ("revoke", "events", "an-id"),
        ("rate-limit", "errors", "proj.add"),
    ],
)
def test_a_row_has_a_target_for_an_action(action, view, target):
    values = {"name": "proj.add", "uuid": "an-id", "worker": "w@h"}
    assert target_of(BY_NAME[action], view, "KEY", values) == target


@pytest.mark.parametrize("name", ["(others)", "(unknown)"])
def test_a_row_for_many_or_for_an_unknown_name_is_no_target(name):
    assert target_of(BY_NAME["revoke"], "events", "KEY", {}) is None
    assert target_of(BY_NAME["rate-limit"], "types", name, {}) is None
    assert target_of(BY_NAME["queue-cancel"], "queues", name, {}) is None
    assert target_of(BY_NAME["rate-limit"], "tasks", "KEY", {"name": name}) is None


# --- answers ------------------------------------------------------------------------------


def request(action, *targets, state=None, now=100.0, **answers):
    made = prepare(state or State(clock=FakeClock(now)), BY_NAME[action], targets, now=now)
    return made.answered(answers)


@pytest.mark.parametrize(
    ("action", "argument", "text", "value"),
    [
        *(("rate-limit", "rate_limit", rate, rate) for rate in ("10", "10/s", "5/h", "0", "0.5/s")),
        ("rate-limit", "rate_limit", " 100/m ", "100/m"),
        ("time-limit", "soft", "  ", None),
        ("time-limit", "hard", "1m30s", 90),
        ("pool-grow", "n", " 3 ", 3),
        ("queue-add", "worker", "w1@host", "w1@host"),
        ("add-consumer", "queue", " mail ", "mail"),
        ("terminate", "signal", "sigkill", "SIGKILL"),
        ("terminate", "signal", "term", "SIGTERM"),
    ],
)
def test_good_answers_become_values(action, argument, text, value):
    assert request(action, "x", **{argument: text}).values[argument] == value


@pytest.mark.parametrize(
    ("action", "argument", "text", "error"),
    [
        *(
            ("rate-limit", "rate_limit", rate, "invalid rate")
            for rate in ("", "fast", "10/d", "-1", "1e3", "10 / s", "\u0661")
        ),
        ("time-limit", "soft", "0", "longer than zero"),
        ("time-limit", "soft", "soon", "invalid duration"),
        *(
            ("pool-grow", "n", count, "not a whole number from 1 up")
            for count in ("", "0", "-1", "x", "1.5", "\u0663")
        ),
        ("pool-grow", "n", "1001", "1000 is the most"),
        ("pool-grow", "n", "9" * 999, "1000 is the most"),
        *(
            ("add-consumer", "queue", name, "not a name of a queue")
            for name in ("", "a\nb", "\x1b[31m")
        ),
        ("add-consumer", "queue", "x" * 256, "longer than 255 bytes"),
        ("queue-add", "worker", "w1", "is not a worker"),
        ("terminate", "signal", "SIGSTOP", "is none of SIGTERM"),
    ],
)
def test_bad_answers_are_refused_with_a_hint(action, argument, text, error):
    with pytest.raises(UsageError, match=error) as caught:
        request(action, "x", **{argument: text})
    assert caught.value.hint
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300


def test_a_pool_may_have_a_minimum_of_nothing_but_not_more_than_its_maximum():
    assert request("autoscale", "w@h", max="4", min="0").values == {"max": 4, "min": 0}
    with pytest.raises(UsageError, match="must not be more"):
        request("autoscale", "w@h", max="1", min="2")
    with pytest.raises(UsageError, match="must be shorter"):
        request("time-limit", "x", soft="1m", hard="1m")


# --- requests -----------------------------------------------------------------------------


@pytest.fixture
def state():
    life = Life(1000.0)
    state = State(clock=FakeClock(1000.0))
    uuid = "7a8b8d37-1"
    state.apply(
        [life.beat("w1@h"), life.beat("w2@h"), life.beat("w3@h") | {"type": "worker-offline"}]
    )
    state.apply([life.received(uuid, "proj.\x1bcharge", hostname="w1@h")])
    state.apply([life.started(uuid, hostname="w1@h")])
    return state


@pytest.mark.parametrize(
    ("action", "target", "label"),
    [
        ("revoke", "7a8b8d37-1", "proj.\\x1bcharge 7a8b8d37 on w1@h, STARTED"),
        ("revoke", "\x1b[2Jid", "\\x1b[2Jid"),
        ("ping", "w1@h", "w1@h, online"),
        ("ping", "w3@h", "w3@h, offline"),
        ("ping", "w9@h", "w9@h"),
        ("queue-cancel", "q" * 10_000, "q" * 200),
    ],
)
def test_a_target_is_described_for_people(state, action, target, label):
    assert request(action, target, state=state, now=1001.0).labels == (label,)


def test_a_task_before_its_worker_and_name_are_known(state):
    state.apply([Life(1000.0).sent("u9") | {"name": None}])
    assert request("revoke", "u9", state=state, now=1001.0).labels == ("? u9, PENDING",)


def test_many_targets_are_counted_once_each():
    made = request("revoke", "a", "b", "a")
    assert made.targets == ("a", "b")
    assert made.summary == "2 tasks"
    assert request("rate-limit", "x", rate_limit="1/s").summary == "task type x"


@pytest.mark.parametrize(
    ("action", "targets", "word"),
    [
        ("ping", ["w1@h"], ""),
        ("revoke", ["a"], "y"),
        ("revoke", ["a", "b"], "2"),
        ("shutdown", ["w1@h"], "w1@h"),
        ("shutdown", ["w1@h", "w2@h"], "2"),
        ("queue-cancel", ["mail"], "mail"),
    ],
)
def test_the_more_harm_the_more_must_be_typed(action, targets, word):
    assert request(action, *targets).confirmation == word


_TERM = {"task_id": ["a"], "terminate": True}


# fmt: off
@pytest.mark.parametrize(
    ("action", "targets", "answers", "calls"),
    [
        ("revoke", "ab", {}, [("revoke", {"task_id": ["a", "b"]}, None, 2)]),
        ("terminate", "a", {}, [("revoke", {**_TERM, "signal": "SIGTERM"}, None, 2)]),
        ("terminate", "a", {"signal": "SIGKILL"},
         [("revoke", {**_TERM, "signal": "SIGKILL"}, None, 2)]),
        ("rate-limit", "xy", {"rate_limit": "10/m"},
         [("rate_limit", {"task_name": name, "rate_limit": "10/m"}, None, 2) for name in "xy"]),
        ("time-limit", "x", {"soft": "30s", "hard": "1m"},
         [("time_limit", {"task_name": "x", "soft": 30, "hard": 60}, None, 2)]),
        ("pool-grow", ["w1@h", "w2@h"], {"n": "2"}, [("pool_grow", {"n": 2}, ("w1@h", "w2@h"), 2)]),
        ("shutdown", ["w1@h"], {}, [("shutdown", {}, ("w1@h",), 0)]),
        ("queue-add", ["mail"], {"worker": "w2@h"},
         [("add_consumer", {"queue": "mail"}, ("w2@h",), 1)]),
        ("queue-cancel", ["mail"], {}, [("cancel_consumer", {"queue": "mail"}, None, 2)]),
    ],
)
def test_a_request_becomes_commands(state, action, targets, answers, calls):
    assert list(request(action, *targets, state=state, now=1001.0, **answers).calls()) == calls


# fmt: on


def test_without_known_workers_no_number_of_answers_is_expected():
    [call] = request("revoke", "a").calls()
    assert call.expected is None


# --- outcomes -----------------------------------------------------------------------------

OK = Reply("w1@h", "x", "flagged", failed=False)
OTHER = Reply("w2@h", "x", "flagged", failed=False)
BAD = Reply("w2@h", "x", "unknown task", failed=True)
MANY = [Reply(f"w{n}@h", "x", "no", failed=True) for n in range(5)]


def outcome(action, replies, expected=2, **more):
    answers = {"rate_limit": "1/s"} if action == "rate-limit" else {}
    return Outcome(request(action, "x", **answers), tuple(replies), expected, 1.04, **more)


REPLIED = "Revoke, task x: {} replied in 1.04s"
LIMITED = "Limit the rate, task type x: {0} of {0} workers replied in 1.04s; "
UNREAD = {"message too large": 1, "no JSON": 2}


# fmt: off
@pytest.mark.parametrize(
    ("made", "sentence", "good"),
    [
        (outcome("revoke", [OK], 13), REPLIED.format("1 of 13 workers"), False),
        (outcome("revoke", [OK], 1), REPLIED.format("1 of 1 worker"), True),
        (outcome("revoke", [OK], None), REPLIED.format("1 worker"), True),
        (outcome("revoke", [OK], 0), REPLIED.format("1 worker"), True),
        (outcome("revoke", [OK, OTHER], 1), REPLIED.format("2 workers"), True),
        (outcome("revoke", [OK, OK], 1), REPLIED.format("1 of 1 worker"), True),
        (outcome("revoke", [], None), REPLIED.format("0 workers"), True),
        (outcome("rate-limit", [OK, BAD]), LIMITED.format(2) + "w2@h: unknown task", False),
        (outcome("rate-limit", MANY, 5),
         LIMITED.format(5) + "w0@h: no; w1@h: no; w2@h: no; and 2 more failures", False),
        (outcome("shutdown", [], 0), "Shut down, worker x: sent; workers do not answer this", True),
        (outcome("revoke", [], error="cannot reach it"),
         "Revoke, task x: not sent: cannot reach it", False),
        (outcome("revoke", [OK], 1, unread=UNREAD),
         REPLIED.format("1 of 1 worker") + "; 1 reply could not be read: message too large; "
         "2 replies could not be read: no JSON", True),
    ],
)
def test_an_outcome_is_one_sentence(made, sentence, good):
    assert (made.sentence(), made.good) == (sentence, good)


# fmt: on


@pytest.mark.parametrize(
    ("answer", "text", "failed"),
    [
        ({"ok": "pong"}, "pong", False),
        ({"error": "KeyError('x')"}, "KeyError('x')", True),
        ({"clock": 7}, "{'clock': 7}", False),
        (None, "None", False),
        ([1, 2], "[1, 2]", False),
        ({"ok": "\x1b[2J" + "x" * 999}, "\\x1b[2J" + "x" * 196, False),
    ],
)
def test_replies_of_any_kind_can_be_shown(answer, text, failed):
    assert list(replies_of(Replies({"w2@h": answer, "\x07w1": None}), "t")) == [
        Reply("\\x07w1", "t", "None", failed=False),
        Reply("w2@h", "t", text, failed),
    ]


# --- the thread that sends them -----------------------------------------------------------

NOBODY = ConnectionSettings(urls="memory://control")


@pytest.fixture
def open_client():
    """Open a client; it is closed after the test."""
    clients = []

    def make(settings, **how):
        how.setdefault("deadline", 0.05)
        woken = threading.Semaphore(0)
        client = ControlClient(settings, woken.release, clock=SystemClock(), **how)
        clients.append(client)
        return client, woken

    yield make
    for client in clients:
        client.close()


def outcome_of(client, woken, asked):
    client.submit(asked)
    assert woken.acquire(timeout=30)
    return client.take()


def test_a_worker_answers_a_request_and_a_refusal_names_its_target(open_client, celery_worker):
    settings = ConnectionSettings(
        urls=celery_worker.broker_url, event_exchange=celery_worker.event_exchange
    )
    client, woken = open_client(settings, deadline=15)
    made = outcome_of(client, woken, request("ping", celery_worker.hostname))
    [reply] = made.replies
    assert (reply.worker, reply.text) == (celery_worker.hostname, "pong")
    assert (made.answered, made.expected, made.good) == (1, 1, True)
    assert made.seconds > 0
    client, woken = open_client(settings, deadline=3)
    made = outcome_of(client, woken, request("rate-limit", "no.such.task", rate_limit="1/s"))
    ours = [r for r in made.failures if r.worker == celery_worker.hostname]
    assert [(reply.target, reply.text) for reply in ours] == [("no.such.task", "unknown task")]


def test_requests_are_carried_out_and_logged_in_their_order(open_client, caplog):
    client, woken = open_client(NOBODY, deadline=0.0)
    for number in range(103):
        client.submit(request("revoke", str(number)))
    for _ in range(103):
        assert woken.acquire(timeout=30)
    made = [client.take() for _ in range(101)]
    # Outcomes that are not taken do not pile up.
    assert [one.request.targets for one in made[:-1]] == [(str(n),) for n in range(3, 103)]
    assert made[-1] is None
    assert (made[0].replies, made[0].error) == ((), "")
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 103
    assert all(line.startswith('audit {"who": ') for line in lines)


def test_a_broker_that_is_away_is_an_outcome_that_shows_no_password(open_client):
    away = ConnectionSettings(urls="redis://:s3kr1t@127.0.0.1:1/0", connect_timeout=0.2)
    made = outcome_of(*open_client(away), request("revoke", "a"))
    assert "not sent: cannot reach redis://:**@127.0.0.1:1/0" in made.sentence()
    assert "s3kr1t" not in made.sentence()


def test_read_only_nothing_is_sent(open_client):
    client, _ = open_client(ConnectionSettings(urls="memory://control", read_only=True))
    with pytest.raises(UsageError, match="read-only"):
        client.submit(request("ping", "w@h"))


# --- the audit log ------------------------------------------------------------------------


@pytest.mark.parametrize("error", ["", "cannot reach it"])
def test_a_request_leaves_one_line_whatever_is_logged_otherwise(caplog, error):
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    made = Outcome(
        request("rate-limit", "a.\n\x1b", "b", rate_limit="10/m"),
        (
            Reply("w1@h", "b", "new rate limit set", failed=False),
            Reply("w2@h", "b", "unknown task", failed=True),
        ),
        3,
        0.51239,
        error,
    )
    log_outcome(made)
    root.setLevel(before)
    [record] = caplog.records
    assert record.levelno == logging.INFO
    word, _, facts = record.getMessage().partition(" ")
    assert word == "audit"
    assert "\n" not in facts
    assert json.loads(facts) == {
        "who": f"{user()}@{socket.gethostname()}",
        "action": "rate-limit",
        "targets": ["a.\n\x1b", "b"],
        "arguments": {"rate_limit": "10/m"},
        "outcome": error or "2 replied",
        "expected": 3,
        "seconds": 0.512,
        "replies": {"w1@h": "new rate limit set", "w2@h": "error: unknown task"},
    }


def test_a_user_without_a_name_is_a_number(monkeypatch):
    def nameless():
        raise KeyError(4711)

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert user() == str(os.getuid())
