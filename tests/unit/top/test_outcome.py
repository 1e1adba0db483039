import pytest

from evtools.state import State
from evtools.top.outcome import Outcome, Reply, replies_of
from evtools.top.request import prepare
from evtools.transport import Replies
from tools.clock import FakeClock


def outcome(command, *replies, expected=2, error=""):
    request = prepare(State(clock=FakeClock()), command, ["x"], now=100.0)
    return Outcome(request, replies, expected, 1.04, error)


OK = Reply("w1@h", "x", "flagged", failed=False)
BAD = Reply("w2@h", "x", "unknown task", failed=True)


def test_it_says_how_many_of_how_many_replied():
    told = outcome("revoke", OK, expected=13)
    assert told.sentence() == "Revoke, task x: 1 of 13 workers replied in 1.04s"
    assert not told.good


def test_one_worker_is_one_worker():
    assert "1 of 1 worker replied" in outcome("ping", OK, expected=1).sentence()


@pytest.mark.parametrize("expected", [None, 0])
def test_where_nobody_knows_how_many_there_are_it_does_not_pretend(expected):
    told = outcome("revoke", OK, expected=expected)
    assert told.sentence() == "Revoke, task x: 1 worker replied in 1.04s"
    assert told.good


def test_workers_that_nobody_expected_do_not_make_two_of_one():
    told = outcome("revoke", OK, Reply("w2@h", "x", "flagged", failed=False), expected=1)
    assert told.sentence() == "Revoke, task x: 2 workers replied in 1.04s"
    assert told.good


def test_nobody_out_of_nobody_is_no_worker():
    assert "0 workers replied" in outcome("revoke", expected=None).sentence()


def test_refusals_are_told_with_their_reason():
    told = outcome("rate-limit", OK, BAD)
    wanted = "2 of 2 workers replied in 1.04s; w2@h: unknown task"
    assert told.sentence().endswith(wanted)
    assert told.failures == (BAD,)
    assert not told.good


def test_many_refusals_are_counted():
    many = [Reply(f"w{n}@h", "x", "no", failed=True) for n in range(5)]
    sentence = outcome("rate-limit", *many, expected=5).sentence()
    assert sentence.endswith("w2@h: no; and 2 more failures")


def test_a_worker_that_answers_twice_is_one_worker():
    assert outcome("rate-limit", OK, OK).answered == 1


def test_what_workers_do_not_answer_is_just_sent():
    told = outcome("shutdown", expected=0)
    assert told.sentence() == "Shut down, worker x: sent; workers do not answer this"
    assert told.good


def test_what_could_not_be_sent_says_why():
    told = outcome("revoke", error="cannot reach redis://h")
    assert told.sentence() == "Revoke, task x: not sent: cannot reach redis://h"
    assert not told.good


def test_all_is_well_when_all_agree():
    assert outcome("revoke", OK, expected=1).good


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
    [reply] = replies_of(Replies({"w@h": answer}), "t")
    assert reply == Reply("w@h", "t", text, failed)


def test_replies_are_in_the_order_of_names_that_are_fit_to_be_shown():
    replies = replies_of(Replies({"w2": None, "\x07w1": None}), "")
    assert [reply.worker for reply in replies] == ["\\x07w1", "w2"]


def test_replies_that_could_not_be_read_are_counted():
    request = prepare(State(clock=FakeClock()), "ping", ["x"], now=100.0)
    unread = {"message too large": 1, "no JSON": 2}
    told = Outcome(request, (OK,), 2, 1.04, "", unread)
    assert told.sentence().endswith(
        "; 1 reply could not be read: message too large; 2 replies could not be read: no JSON"
    )
