import pytest

from evtools.doctor.broker import (
    check_elsewhere,
    check_exchange,
    check_orphans,
    check_permissions,
    check_queue,
)
from evtools.doctor.context import Observation, WorkerSigns
from evtools.doctor.inspect import (
    Elsewhere,
    ExchangeStatus,
    OrphanedQueue,
    OrphanSearch,
    Permission,
)


@pytest.mark.parametrize(("status", "severity", "text"), [
    (ExchangeStatus("exchange x"), "ok", "exchange x"),
    (ExchangeStatus("exchange x", may_declare=False), "ok", "need not"),
    (ExchangeStatus("exchange x", clash="it is fanout"), "problem", "it is fanout"),
    (ExchangeStatus("exchange x", exists=False, command="rabbitmqctl x"), "problem",
     ":\n  rabbitmqctl x"),
])  # fmt: skip
def test_the_exchange_is_there_and_right_or_not(case, fake, told, status, severity, text):
    made = case(fake(exchange=lambda: status))
    ((found, said),) = told(check_exchange, made)
    assert found == severity
    assert text in said
    assert made.exchange_exists == status.exists
    assert made.can_listen == (severity == "ok")


def test_permissions_are_named_together_and_refusals_one_by_one(case, fake, told):
    tried = [Permission("open"), Permission("read"), Permission("bind", "refused", "type this")]
    made = case(fake(permissions=lambda: tried))
    assert told(check_permissions, made) == [
        ("problem", "may not bind: refused\ntype this"),
        ("ok", "may open; read\n"),
    ]
    assert not made.can_listen
    made.exchange_exists = False
    assert told(check_permissions, made) == []
    assert told(check_permissions, case()) == []


@pytest.mark.parametrize(("settings", "severities"), [
    ({}, ["ok"]), ({"event_queue_ttl": None}, ["note"]), ({"event_queue_ttl": 0.5}, ["warning"]),
    ({"event_queue_expires": None}, ["ok"]),
    ({"event_queue_expires": None, "event_queue_exclusive": False}, ["warning", "ok"]),
])  # fmt: skip
def test_what_our_queue_does_without_us(case, fake, told, settings, severities):
    assert [severity for severity, _ in told(check_queue, case(**settings))] == severities
    assert told(check_queue, case(fake(keeps_queues=False), **settings)) == []


# --- elsewhere ---------------------------------------------------------------------

THERE = Elsewhere("database 1", "workers", ("-b", "redis://:**@h/1"), alive=True)


def test_another_place_is_the_answer_unless_workers_are_here_or_nobody_is_there(case, fake, told):
    ((severity, text),) = told(check_elsewhere, case(fake(elsewhere=lambda: [THERE])))
    assert severity == "problem"
    assert "database 1: workers" in text
    assert text.endswith("in place of **:\n  -b 'redis://:**@h/1'")
    seen = Observation(workers={"w1": WorkerSigns()})
    # A name that anyone chose adds no line of advice.
    gone = Elsewhere("x", "traces", ("--event-exchange", "a\nType: reboot"), alive=False)
    for made in (
        case(fake(elsewhere=lambda: [THERE]), seen=seen),
        case(fake(elsewhere=lambda: [gone])),
    ):
        ((severity, text),) = told(check_elsewhere, made)
        assert severity == "note"
    assert "'a\\nType: reboot'" in text


def test_workers_name_another_exchange_themselves_and_it_is_reported_once(case, fake, told):
    found = Elsewhere("exchange blue", "events", ("--event-exchange", "blue"), alive=True)
    blue = {"event_exchange": "blue"}
    theirs = {"w2": blue, "w1": blue, "w3": {"event_exchange": 7}, "w4": {}}
    seen = Observation(settings={**theirs, "w5": {"event_exchange": "celeryev"}})
    ((severity, text),) = told(check_elsewhere, case(fake(elsewhere=lambda: [found]), seen=seen))
    assert severity == "problem"
    assert "exchange blue: w1 sends its events there\nTo watch there:\n  --event" in text
    assert "--event-exchange blue" in text


# --- orphans -----------------------------------------------------------------------

LIST = OrphanedQueue("list", "celeryev.a", messages=3, size_bytes=2048)
BINDING = OrphanedQueue("binding", "celeryev.a")
BUSY = OrphanedQueue("queue", "celeryev.b", "it is being read")
MANY = [OrphanedQueue("queue", f"celeryev.{n}") for n in range(20)]
NAMES = ", ".join(f"celeryev.{n}" for n in range(20))
FEW = ", ".join(f"celeryev.{n}" for n in range(5))
FREE = "without a reader: "
YES = {"fix": True, "confirm": lambda _: True}
GAP = "not all orphaned event queues can be found: "


@pytest.mark.parametrize(("search", "options", "findings"), [
    (OrphanSearch([BUSY]), {}, [("ok", "no orphaned event queues\n")]),
    (OrphanSearch([LIST, BINDING, BUSY]), {},
     [("warning", f"{FREE}1 list and 1 binding (3 messages, 2.0K): celeryev.a\nMonit")]),
    # Of many some are named, and all on request.
    (OrphanSearch(MANY), {}, [("warning", f"{FREE}20 queues: {FEW} and 15 more\n")]),
    (OrphanSearch(MANY), {"verbose": True}, [("warning", f"{FREE}20 queues: {NAMES}\n")]),
    (OrphanSearch([LIST, BUSY]), {"queues": ("celeryev.b",)},
     [("note", "celeryev.b stays: it is being read\n"), ("warning", f"{FREE}1 list")]),
    (OrphanSearch([LIST, BUSY]), YES, [("note", "removed 1 list (3 messages, 2.0K): c")]),
    (OrphanSearch([LIST]), {"fix": True}, [("warning", "not removed: 1 list (3 messages")]),
    (OrphanSearch(gap="AMQP lists no queues", command="rabbitmqctl x"), {},
     [("note", f"{GAP}AMQP lists no queues\nOn the broker's host, this lists them:\n  rabbitmq")]),
    (OrphanSearch(gap="too many keys"), {}, [("note", f"{GAP}too many keys\n")]),
])  # fmt: skip
def test_orphans_are_named_and_removed_when_somebody_says_yes(
    case, fake, told, search, options, findings
):
    broker = fake(left=search)
    found = told(check_orphans, case(broker, options=options))
    assert [severity for severity, _ in found] == [severity for severity, _ in findings]
    for (_, said), (_, text) in zip(found, findings, strict=True):
        assert said.startswith(text)
    assert broker.removed == ([LIST] if options is YES else [])


def test_every_name_stands_in_the_question_and_the_broker_may_keep_them(case, fake, told):
    asked = []
    options = {"fix": True, "confirm": asked.append}
    told(check_orphans, case(fake(left=OrphanSearch(MANY)), options=options))
    assert asked == [f"Remove 20 queues: {NAMES}?"]
    broker = fake(left=OrphanSearch([LIST]), stays="in use")
    kept = [("warning", "celeryev.a stays: in use\n")]
    assert told(check_orphans, case(broker, options=YES)) == kept
