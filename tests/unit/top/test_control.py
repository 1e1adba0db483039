"""Changes to the cluster: from the key to the command that workers get, and the log."""

import getpass
import json
import logging
import os
import socket
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
from kombu import Connection

from evtools.clock import SystemClock
from evtools.errors import UsageError
from evtools.rows import QueueFacts
from evtools.state import State
from evtools.top.control import (
    ACTIONS,
    BY_NAME,
    ControlClient,
    Reply,
    actions_for,
    prepare,
    replies_of,
    target_of,
)
from evtools.top.keys import BINDINGS
from evtools.top.options import VIEWS
from evtools.top.ui.widgets import plain
from evtools.transport import ConnectionSettings
from evtools.transport.queues import Depth
from tools.clock import FakeClock
from tools.life import Life

# --- keys, questions, dialogs -------------------------------------------------------------


@pytest.fixture
def sent(crowd):
    """Return the requests that were sent."""
    crowd.take(crowd.life.beat("w1@host"))
    return crowd.control.submitted


def dialog(terminal):
    return [plain(line) for line in terminal.session.layer.box(96, 38).lines]


@pytest.mark.parametrize(
    ("keys", "revoked"),
    [
        (["y"], True),
        (["right", "enter"], True),
        (["x", "Y", "tab", "enter"], True),
        *(([key], False) for key in ("enter", "n", "esc", "q", "ctrl-c")),
        (["left", "right", "enter"], False),
    ],
)
def test_a_task_is_revoked_only_if_that_is_confirmed(crowd, sent, keys, revoked):
    crowd.press("C", *keys)
    assert crowd.session.layer is None
    assert [(one.action.name, one.targets) for one in sent] == [("revoke", ("id39",))] * revoked
    if revoked:
        assert crowd.message == "Revoke, task proj.task0 id39 on w1@host, SUCCESS: sent ..."


def test_the_dialog_names_the_target_its_state_and_the_consequence(crowd, sent):
    crowd.press("a", "C")
    lines = dialog(crowd)
    assert lines[0] == "proj.task0 id39 on w1@host, SUCCESS"
    assert any("If it is already running, it goes on." in line for line in lines)
    crowd.take(crowd.life.success("newest", "proj.other"))
    assert crowd.session.table.focus_key == "newest"
    crowd.press("y")
    assert sent[0].targets == ("id39",)  # that of the key press


def test_for_many_their_count_has_to_be_typed(crowd, sent):
    crowd.press("space", "space", "C")
    assert dialog(crowd)[-1] == "Type 2 to confirm: "
    crowd.press("y", "enter")
    assert sent == []
    crowd.press("C", "2", "enter")
    assert set(sent[0].targets) == {"id39", "id38"}
    assert crowd.message == "Revoke, 2 tasks: sent ..."
    crowd.press(*(["space"] * 7), "C")
    assert "and 4 more" in dialog(crowd)


def test_a_termination_asks_for_the_signal(crowd, sent):
    crowd.press("K")
    assert "SIGTERM" in dialog(crowd)[0]
    crowd.press("2")
    assert "signal: SIGKILL" in dialog(crowd)
    crowd.press("y")
    assert sent[0].values == {"signal": "SIGKILL"}


def test_a_rate_is_asked_for_until_it_is_one(crowd, sent):
    crowd.press("L", "esc")
    assert (sent, crowd.session.layer) == ([], None)
    crowd.press("L")
    assert crowd.lines()[-1].startswith("rate>")
    assert crowd.lines()[-2] == "Rate limit per worker (10/s, 100/m, 5/h; 0 = none):"
    crowd.write("fast")
    crowd.press("enter")
    assert 'invalid rate "fast"' in crowd.lines()[-2]
    crowd.press("ctrl-u")
    crowd.write("10/m")
    crowd.press("enter", "y")
    (request,) = sent
    assert (request.targets, request.values) == (("proj.task0",), {"rate_limit": "10/m"})


def test_answers_that_contradict_each_other_are_refused(crowd, sent):
    for soft in ("2m", ""):
        crowd.command("time-limit")
        crowd.write(soft)
        crowd.press("enter")
        crowd.write("1m")
        crowd.press("enter")
        assert crowd.message == ("the soft limit must be shorter than the hard one" if soft else "")
        crowd.session.message = None
    assert "soft limit: none" in dialog(crowd)
    assert sent == []


@pytest.mark.parametrize(
    ("keys", "confirmed"),
    [
        ([*"w1@host", "enter"], True), ([*"w1@hostx", "backspace", "enter"], True),
        ([*"w1@hos", "enter"], False), (["y", "enter"], False), ([*"w1@host", "esc"], False),
    ],
)  # fmt: skip
def test_a_worker_is_shut_down_after_its_name_was_typed(crowd, sent, keys, confirmed):
    crowd.press("3", "S")
    assert dialog(crowd)[-1] == "Type w1@host to confirm: "
    crowd.press(*keys)
    assert crowd.session.layer is None
    assert [request.action.name for request in sent] == ["shutdown"] * confirmed


def test_a_stamp_is_typed_also_where_there_is_no_row(crowd, sent):
    crowd.command("filter state:retry")
    crowd.press("a", "M")
    for text, refused in (("rush", True), ("=x", True), ("rush=", True), ("rush=a=b", False)):
        crowd.press("ctrl-u")
        crowd.write(text)
        crowd.press("enter")
        assert ("is not a stamp" in crowd.lines()[-2]) is refused
    crowd.press("2")
    assert dialog(crowd)[:2] == ["rush=a=b", "those that run: SIGTERM"]
    crowd.press("y")
    assert sent[0].commands() == [
        {"headers": {"rush": ["a=b"]}, "signal": "SIGTERM", "terminate": True}
    ]
    assert crowd.message == "Revoke by a stamp, stamp rush=a=b: sent ..."


def test_a_queue_is_purged_after_its_name_was_typed(crowd, sent):
    crowd.take({**crowd.life.sent("u1"), "queue": "mail"})
    crowd.press("4", "a", "U")
    text = " ".join(dialog(crowd))
    assert "running, reserved or unacknowledged, stays" in text
    crowd.press("y", "enter")
    assert sent == []
    [cluster] = crowd.session.model.clusters.values()
    cluster.asks_broker = True
    cluster.stats = SimpleNamespace(known=lambda: QueueFacts({"mail": Depth(3)}))
    crowd.command("purge")
    crowd.press(*"mail", "enter")
    assert [(one.action.name, one.targets) for one in sent] == [("purge", ("mail",))]
    assert crowd.message == "Purge, queue mail, 3 ready: sent ..."


def test_the_menu_has_the_actions_on_this_row_or_the_marks(crowd):
    crowd.press("a")
    lines = "\n".join(dialog(crowd))
    assert "Revoke and terminate  (id39)" in lines
    assert "Limit the rate  (proj.task0)" in lines
    assert "Shut down" not in lines
    crowd.press("esc", "space", "space", "space", "a")
    assert any("Revoke  (3 tasks)" in line for line in dialog(crowd))


def test_an_action_can_be_named_and_a_ping_is_not_asked_about(crowd, sent):
    crowd.command("actions revoke")
    crowd.press("y")
    crowd.command("view workers")
    crowd.command("ping")
    assert crowd.session.layer is None
    assert [request.action.name for request in sent] == ["revoke", "ping"]
    for line, message in (
        ("view tasks", ""),
        ("actions dance", "there is no action dance"),
        ("shutdown", "Shut down is not for tasks"),
        ("filter state:retry", ""),
        ("revoke", "revoke: no row to do it to"),
        ("view events", ""),
        ("filter nothing", ""),
        ("actions", "there are no actions on this row"),
    ):
        crowd.session.message = None
        crowd.command(line)
        assert crowd.message == message


def test_in_read_only_mode_nothing_is_even_asked(crowd):
    crowd.session.model.clusters[""].control = None
    for key in ("a", "C", "K", "L"):
        crowd.session.message = None
        crowd.press(key)
        assert crowd.message.startswith("nothing is changed: read-only mode")
        assert crowd.session.layer is None


# --- the table of actions -----------------------------------------------------------------


def test_the_table_of_actions_is_consistent():
    assert len(BY_NAME) == len(ACTIONS)
    for view in VIEWS:
        keys = [action.key for action in actions_for(view)]
        assert keys or view == "overview"
        assert len(keys) == len(set(keys))
    assert all(one.key.isupper() and one.consequence.endswith(".") for one in ACTIONS)
    # One on a key of its own has the letter of the menu.
    bound = {binding.command: binding.keys for binding in BINDINGS}
    assert all(action.key in bound.get(action.name, action.key) for action in ACTIONS)


@pytest.mark.parametrize(
    ("action", "view", "key", "values", "target"),
    [
        ("revoke",       "tasks",   "KEY",       {},                    "KEY"),
        ("rate-limit",   "tasks",   "KEY",       {"name": "proj.add"},  "proj.add"),
        ("rate-limit",   "types",   "KEY",       {},                    "KEY"),
        ("shutdown",     "workers", "KEY",       {},                    "KEY"),
        ("queue-cancel", "queues",  "KEY",       {},                    "KEY"),
        ("revoke",       "events",  "KEY",       {"uuid": "an-id"},     "an-id"),
        ("rate-limit",   "errors",  "KEY",       {"name": "proj.add"},  "proj.add"),
        # A row for many or for an unknown name is no target.
        ("revoke",       "events",  "KEY",       {},                    None),
        ("rate-limit",   "types",   "(others)",  {},                    None),
        ("queue-cancel", "queues",  "(unknown)", {},                    None),
        ("rate-limit",   "tasks",   "KEY",       {"name": "(unknown)"}, None),
    ],
)  # fmt: skip
def test_a_row_has_a_target_for_an_action(action, view, key, values, target):
    assert target_of(BY_NAME[action], view, key, values) == target


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
        ("autoscale", "min", "0", 0),
        ("queue-add", "worker", "w1@host", "w1@host"),
        ("add-consumer", "queue", " mail ", "mail"),
    ],
)
def test_good_answers_become_values(action, argument, text, value):
    answers = {"max": "4"} if action == "autoscale" else {}
    assert request(action, "x", **answers, **{argument: text}).values[argument] == value


@pytest.mark.parametrize(
    ("action", "argument", "texts", "error"),
    [
        ("rate-limit", "rate_limit", ("", "fast", "10/d", "-1", "1e3", "10 / s", "\u0661"),
         "invalid rate"),
        ("time-limit", "soft", ("0",), "longer than zero"),
        ("time-limit", "soft", ("soon",), "invalid duration"),
        ("pool-grow", "n", ("", "0", "-1", "x", "1.5", "\u0663"), "not a whole number from 1 up"),
        ("pool-grow", "n", ("1001", "9" * 999), "1000 is the most"),
        ("add-consumer", "queue", ("", "a\nb", "\x1b[31m"), "not a name of a queue"),
        ("add-consumer", "queue", ("x" * 256,), "longer than 255 bytes"),
        ("queue-add", "worker", ("w1",), "is not a worker"),
    ],
)  # fmt: skip
def test_bad_answers_are_refused_with_a_hint(action, argument, texts, error):
    for text in texts:
        with pytest.raises(UsageError, match=error) as caught:
            request(action, "x", **{argument: text})
        assert caught.value.hint
        assert caught.value.message.isprintable()
        assert len(caught.value.message) < 300


def test_a_minimum_is_not_more_than_the_maximum():
    with pytest.raises(UsageError, match="must not be more"):
        request("autoscale", "w@h", max="1", min="2")


# --- requests -----------------------------------------------------------------------------


@pytest.fixture
def state():
    life = Life(1000.0)
    state = State(clock=FakeClock(1000.0))
    uuid = "7a8b8d37-1"
    gone = life.beat("w3@h") | {"type": "worker-offline"}
    state.apply([life.beat("w1@h"), life.beat("w2@h"), gone, life.sent("u9") | {"name": None}])
    state.apply([life.received(uuid, "proj.\x1bcharge", hostname="w1@h")])
    state.apply([life.started(uuid, hostname="w1@h")])
    return state


@pytest.mark.parametrize(
    ("action", "target", "label"),
    [
        ("revoke", "7a8b8d37-1", "proj.\\x1bcharge 7a8b8d37 on w1@h, STARTED"),
        ("revoke", "u9", "? u9, PENDING"),
        ("revoke", "\x1b[2Jid", "\\x1b[2Jid"),
        ("ping", "w1@h", "w1@h, online"),
        ("ping", "w3@h", "w3@h, offline"),
        ("ping", "w9@h", "w9@h"),
        ("queue-cancel", "q" * 10_000, "q" * 200),
    ],
)
def test_a_target_is_described_for_people(state, action, target, label):
    assert request(action, target, state=state, now=1001.0).labels == (label,)


_TERM = {"task_id": ["a"], "terminate": True, "signal": "SIGKILL"}
_STAMPED = {"headers": {"id": ["7", 7]}, "terminate": False, "signal": None}


@pytest.mark.parametrize(
    ("action", "targets", "answers", "commands", "destination", "expected"),
    [
        ("revoke", "ab", {}, [{"task_id": ["a", "b"]}], None, 2),
        ("terminate", "a", {}, [_TERM | {"signal": "SIGTERM"}], None, 2),
        ("terminate", "a", {"signal": "SIGKILL"}, [_TERM], None, 2),
        ("rate-limit", "xy", {"rate_limit": "10/m"},
         [{"task_name": name, "rate_limit": "10/m"} for name in "xy"], None, 2),
        ("time-limit", "x", {"soft": "30s", "hard": "1m"},
         [{"task_name": "x", "soft": 30, "hard": 60}], None, 2),
        ("pool-grow", ["w1@h", "w2@h"], {"n": "2"}, [{"n": 2}], ("w1@h", "w2@h"), 2),
        ("shutdown", ["w1@h"], {}, [{}], ("w1@h",), 0),
        ("pool-restart", ["w1@h"], {}, [{}], ("w1@h",), 1),
        ("revoke-stamped", ["id=7"], {}, [_STAMPED], None, 2),
        ("queue-add", ["mail"], {"worker": "w2@h"}, [{"queue": "mail"}], ("w2@h",), 1),
        ("queue-cancel", ["mail"], {}, [{"queue": "mail"}], None, 2),
    ],
)  # fmt: skip
def test_a_request_becomes_commands(
    state, action, targets, answers, commands, destination, expected
):
    made = request(action, *targets, state=state, now=1001.0, **answers)
    assert (made.commands(), made.destination, made.expected) == (commands, destination, expected)


def test_without_known_workers_no_number_of_answers_is_expected():
    assert request("revoke", "a").expected is None


# --- outcomes -----------------------------------------------------------------------------

OK = Reply("w1@h", "flagged", failed=False)
OTHER = Reply("w2@h", "flagged", failed=False)
BAD = Reply("w2@h", "unknown task", failed=True)
MANY = [Reply(f"w{n}@h", "no", failed=True) for n in range(5)]


def outcome(action, replies, expected=2, **more):
    answers = {"rate_limit": "1/s"} if action == "rate-limit" else {}
    asked = request(action, "x", **answers)
    return replace(asked, workers=expected, replies=tuple(replies), seconds=1.04, **more)


NONE = Reply("b", "there is no such queue", failed=True)
STAMPED = "Revoke by a stamp, stamp x: 2 of 2 workers replied in 1.04s; {}"
PURGED = Reply("a", "12 messages deleted", failed=False)
REPLIED = "Revoke, task x: {} replied in 1.04s"
LIMITED = "Limit the rate, task type x: {0} of {0} workers replied in 1.04s; "
UNREAD = {"message too large": 1, "no JSON": 2}


@pytest.mark.parametrize(
    ("made", "sentence", "good"),
    [
        (outcome("revoke", [OK], 13), REPLIED.format("1 of 13 workers"), False),
        (outcome("revoke", [OK], 1), REPLIED.format("1 of 1 worker"), True),
        (outcome("revoke", [OK], None), REPLIED.format("1 worker"), True),
        (outcome("revoke", [OK, OTHER], 1), REPLIED.format("2 workers"), True),
        (outcome("revoke", [OK, OK], 1), REPLIED.format("1 of 1 worker"), True),
        (outcome("rate-limit", [OK, BAD]), LIMITED.format(2) + "w2@h: unknown task", False),
        (outcome("rate-limit", MANY, 5),
         LIMITED.format(5) + "w0@h: no; w1@h: no; w2@h: no; and 2 more failures", False),
        (outcome("shutdown", [], 0), "Shut down, worker x: sent; workers do not answer this", True),
        (outcome("revoke", [], error="cannot reach it"),
         "Revoke, task x: not sent: cannot reach it", False),
        (outcome("revoke", [OK], 1, unread=UNREAD),
         REPLIED.format("1 of 1 worker") + "; 1 reply could not be read: message too large; "
         "2 replies could not be read: no JSON", True),
        (outcome("revoke-stamped", [OK, BAD]),
         STAMPED.format("w2@h: unknown task; w1@h: flagged"), False),
        (outcome("purge", [PURGED]), "Purge, queue x: 12 messages deleted", True),
        (replace(outcome("purge", [PURGED, NONE]), targets=("a", "b")),
         "Purge, 2 queues: b: there is no such queue; a: 12 messages deleted", False),
        (replace(outcome("purge", [PURGED], error="cannot reach it"), targets=("a", "b")),
         "Purge, 2 queues: a: 12 messages deleted; 1 of 2 not done: cannot reach it", False),
    ],
)  # fmt: skip
def test_an_outcome_is_one_sentence(made, sentence, good):
    assert (made.sentence(), made.good) == (sentence, good)


@pytest.mark.parametrize(
    ("answer", "text", "failed"),
    [
        ({"ok": "pong"}, "pong", False),
        ({"error": "KeyError('x')"}, "KeyError('x')", True),
        ({"clock": 7}, "{'clock': 7}", False),
        ([1, 2], "[1, 2]", False),
        ({"ok": "\x1b[2J" + "x" * 999}, "\\x1b[2J" + "x" * 196, False),
    ],
)
def test_replies_of_any_kind_can_be_shown(answer, text, failed):
    assert list(replies_of({"w2@h": answer, "\x07w1": None})) == [
        Reply("\\x07w1", "None", failed=False),
        Reply("w2@h", text, failed),
    ]


# --- the thread that sends them -----------------------------------------------------------


@pytest.fixture
def open_client():
    """Open a client; it is closed after the test."""
    clients = []

    def make(urls, *, deadline=0.05, **settings):
        woken = threading.Semaphore(0)
        made = ConnectionSettings(urls=urls, **settings)
        client = ControlClient(made, woken.release, clock=SystemClock(), deadline=deadline)
        clients.append(client)
        return client, woken

    yield make
    for client in clients:
        client.close()


def outcome_of(client, woken, asked):
    client.submit(asked)
    assert woken.acquire(timeout=30)
    return client.take()


def test_requests_are_carried_out_and_logged_in_their_order(open_client, caplog, monkeypatch):
    client, woken = open_client("memory://control", deadline=0.0)
    # The log of actions is kept whatever else is.
    monkeypatch.setattr(logging.getLogger(), "level", logging.ERROR)
    for number in range(103):
        client.submit(request("revoke", str(number)))
    for _ in range(103):
        assert woken.acquire(timeout=30)
    made = [client.take() for _ in range(101)]
    # Outcomes that are not taken do not pile up.
    assert [one.targets for one in made[:-1]] == [(str(n),) for n in range(3, 103)]
    assert made[-1] is None
    assert (made[0].replies, made[0].error) == ((), "")
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 103
    assert all(line.startswith('audit {"who": ') for line in lines)


def test_a_queue_is_purged_and_that_is_logged(open_client, caplog):
    client, woken = open_client("memory://purge")
    with Connection("memory://purge") as connection:
        queue = connection.SimpleQueue("mail")
        queue.put({})
    made = outcome_of(client, woken, request("purge", "mail", "sms"))
    assert made.sentence() == (
        "Purge, 2 queues: sms: nothing deleted: there is no such queue; mail: 1 message deleted"
    )
    assert not made.good
    line = json.loads(caplog.records[-1].getMessage().removeprefix("audit "))
    assert (line["action"], line["targets"]) == ("purge", ["mail", "sms"])
    assert line["replies"]["mail"] == "1 message deleted"


def test_a_broker_that_is_away_is_an_outcome_that_shows_no_password(open_client):
    away = open_client("redis://:s3kr1t@127.0.0.1:1/0", connect_timeout=0.2)
    made = outcome_of(*away, request("revoke", "a"))
    assert "not sent: cannot reach redis://:**@127.0.0.1:1/0" in made.sentence()
    assert "s3kr1t" not in made.sentence()


def test_read_only_nothing_is_sent(open_client):
    client, _ = open_client("memory://control", read_only=True)
    with pytest.raises(UsageError, match="read-only"):
        client.submit(request("ping", "w@h"))


@pytest.mark.parametrize("error", ["", "cannot reach it"])
@pytest.mark.parametrize("nameless", [False, True])
def test_the_line_of_the_log_says_who_did_it_and_what_became_of_it(monkeypatch, error, nameless):
    def getuser():
        if nameless:
            raise KeyError(4711)
        return "ann"

    monkeypatch.setattr(getpass, "getuser", getuser)
    asked = replace(request("rate-limit", "a.\n\x1b", "b", rate_limit="10/m"), workers=3)
    good = Reply("w1@h", "new rate limit set", failed=False)
    line = replace(asked, replies=(good, BAD), seconds=0.51239, error=error).audit()
    assert line.isprintable()
    assert json.loads(line) == {
        "who": f"{os.getuid() if nameless else 'ann'}@{socket.gethostname()}",
        "action": "rate-limit",
        "targets": ["a.\n\x1b", "b"],
        "arguments": {"rate_limit": "10/m"},
        "outcome": error or "2 replied",
        "expected": 3,
        "seconds": 0.512,
        "replies": {"w1@h": "new rate limit set", "w2@h": "error: unknown task"},
    }
