import pytest

from evtools.doctor.ground import check_elsewhere, check_exchange, check_permissions, check_queue
from evtools.doctor.inspect.base import Elsewhere, Ground, Right
from evtools.doctor.observation import Observation, Signs


@pytest.mark.parametrize(
    ("ground", "severity", "text"),
    [
        (Ground("exchange x"), "ok", "exchange x"),
        (Ground("exchange x", may_declare=False), "ok", "need not"),
        (Ground("exchange x", exists=False), "problem", "there is no exchange x"),
        (Ground("exchange x", clash="it is fanout"), "problem", "it is fanout"),
    ],
)
def test_the_exchange_is_there_and_right_or_not(case, fake, told, ground, severity, text):
    made = case(fake(where=ground))
    ((found, said),) = told(check_exchange, made)
    assert found == severity
    assert text in said
    assert made.exchange_exists == ground.exists
    assert made.can_listen == (severity == "ok")


def test_where_the_exchange_is_missing_a_command_lists_those_there_are(case, fake, told):
    ground = Ground("exchange x", exists=False, command="rabbitmqctl x")
    ((_, text),) = told(check_exchange, case(fake(where=ground)))
    assert text.endswith(":\n  rabbitmqctl x")


def test_rights_are_told_together_and_refusals_one_by_one(case, fake, told):
    rights = [
        Right("open", granted=True),
        Right("read", granted=True),
        Right("bind", granted=False, why="refused", grant="allow bind"),
    ]
    made = case(fake(may=rights))
    (bad, text), good = told(check_permissions, made)
    assert not made.can_listen
    assert bad == "problem"
    assert text.startswith("may not bind: refused")
    assert text.endswith("can allow it:\n  allow bind")
    assert good == ("ok", "may open; read\n")


def test_a_command_that_does_more_than_asked_says_so(case, fake, told):
    right = Right("bind", granted=False, grant="allow", caveat="it allows all")
    ((_, text),) = told(check_permissions, case(fake(may=[right])))
    assert text.endswith("can allow it (it allows all):\n  allow")


def test_without_an_exchange_no_right_is_tried(case, fake, told):
    made = case(fake(may=[Right("open", granted=True)]))
    made.exchange_exists = False
    assert told(check_permissions, made) == []


def test_of_a_broker_without_rights_nothing_is_said(case, told):
    assert told(check_permissions, case()) == []


@pytest.mark.parametrize(
    ("settings", "severities"),
    [
        ({}, ["ok"]),
        ({"event_queue_ttl": None}, ["note"]),
        ({"event_queue_ttl": 0.5}, ["warning"]),
        ({"event_queue_expires": None}, ["ok"]),
        ({"event_queue_expires": None, "event_queue_exclusive": False}, ["warning", "ok"]),
    ],
)
def test_what_our_queue_does_without_us(case, told, settings, severities):
    findings = told(check_queue, case(**settings))
    assert [severity for severity, _ in findings] == severities


def test_where_the_broker_keeps_no_queues_nothing_is_said_of_ours(case, fake, told):
    assert told(check_queue, case(fake(keeps_queues=False))) == []


THERE = Elsewhere("database 1", "workers", ("-b", "redis://:**@h/1"), alive=True)


def test_another_place_is_the_answer_where_nobody_is_here(case, fake, told):
    ((severity, text),) = told(check_elsewhere, case(fake(others=[THERE])))
    assert severity == "problem"
    assert "database 1: workers" in text
    assert text.endswith("in place of **:\n  -b 'redis://:**@h/1'")


def test_another_place_is_a_remark_where_workers_are_here(case, fake, told):
    seen = Observation(workers={"w1": Signs()})
    ((severity, _),) = told(check_elsewhere, case(fake(others=[THERE]), seen=seen))
    assert severity == "note"


def test_a_name_of_somebody_elses_adds_no_line_of_advice(case, fake, told):
    forged = Elsewhere("x", "y", ("--event-exchange", "a\nType: reboot"), alive=True)
    ((_, text),) = told(check_elsewhere, case(fake(others=[forged])))
    assert "'a\\nType: reboot'" in text


def test_a_place_that_is_found_twice_is_told_once(case, fake, told):
    twice = Elsewhere("exchange blue", "events", ("--event-exchange", "blue"), alive=True)
    seen = Observation(settings={"w1": {"event_exchange": "blue"}})
    ((_, text),) = told(check_elsewhere, case(fake(others=[twice]), seen=seen))
    assert "w1 sends its events there\nTo watch there:\n  --event" in text


def test_a_place_where_nobody_is_any_more_is_a_remark(case, fake, told):
    gone = Elsewhere("database 1", "traces", ("-b", "x"), alive=False)
    ((severity, _),) = told(check_elsewhere, case(fake(others=[gone])))
    assert severity == "note"


def test_workers_tell_of_another_exchange_themselves(case, told):
    blue = {"event_exchange": "blue"}
    theirs = {"w2": blue, "w1": blue, "w3": {"event_exchange": 7}, "w4": {}}
    seen = Observation(settings={**theirs, "w5": {"event_exchange": "celeryev"}})
    ((severity, text),) = told(check_elsewhere, case(seen=seen))
    assert severity == "problem"
    assert "exchange blue: w1 sends its events there" in text
    assert "--event-exchange blue" in text
