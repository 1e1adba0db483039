from evtools.doctor.inspect.base import Leftover, Search
from evtools.doctor.orphans import check_orphans

LIST = Leftover("list", "celeryev.a", free=True, messages=3, size_bytes=2048)
BINDING = Leftover("binding", "celeryev.a", free=True)
BUSY = Leftover("queue", "celeryev.b", free=False, why="it is being read")


def test_where_nothing_is_left_all_is_well(case, fake, told):
    broker = fake(left=Search([BUSY]))
    assert told(check_orphans, case(broker)) == [("ok", "nothing is left behind\n")]


def test_what_is_left_is_counted_and_named(case, fake, told):
    broker = fake(left=Search([LIST, BINDING, BUSY]))
    ((severity, text),) = told(check_orphans, case(broker))
    assert severity == "warning"
    assert "1 list and 1 binding (3 messages, 2.0K): celeryev.a\n" in text
    assert "--fix" in text
    assert broker.removed == []


def test_of_many_some_are_named_and_all_on_request(case, fake, told):
    queues = [Leftover("queue", f"celeryev.{n}", free=True) for n in range(8)]
    broker = fake(left=Search(queues))
    ((_, text),) = told(check_orphans, case(broker))
    assert "8 queues: celeryev.0, " in text
    assert "celeryev.4 and 3 more" in text
    ((_, text),) = told(check_orphans, case(broker, options={"verbose": True}))
    assert "celeryev.7" in text


def test_what_is_left_is_removed_when_somebody_says_yes(case, fake, told):
    asked = []

    def agree(question):
        asked.append(question)
        return True

    broker = fake(left=Search([LIST, BUSY]))
    options = {"fix": True, "confirm": agree}
    ((severity, text),) = told(check_orphans, case(broker, options=options))
    assert asked == ["Remove 1 list (3 messages, 2.0K): celeryev.a?"]
    assert (severity, text.startswith("removed 1 list")) == ("note", True)
    assert broker.removed == [LIST]


def test_every_name_is_shown_before_anything_is_removed(case, fake, told):
    asked = []
    queues = [Leftover("queue", f"celeryev.{n}", free=True) for n in range(20)]
    options = {"fix": True, "confirm": asked.append}
    told(check_orphans, case(fake(left=Search(queues)), options=options))
    (question,) = asked
    assert all(f"celeryev.{n}" in question for n in range(20))


def test_what_is_left_stays_when_nobody_says_yes(case, fake, told):
    broker = fake(left=Search([LIST]))
    ((severity, text),) = told(check_orphans, case(broker, options={"fix": True}))
    assert (severity, text.startswith("not removed")) == ("warning", True)
    assert broker.removed == []


def test_what_the_broker_will_not_give_up_is_a_warning(case, fake, told):
    broker = fake(left=Search([LIST]), stays="in use")
    options = {"fix": True, "confirm": lambda question: True}
    ((severity, text),) = told(check_orphans, case(broker, options=options))
    assert (severity, text) == ("warning", "celeryev.a stays: in use\n")


def test_what_was_named_and_is_in_use_is_told(case, fake, told):
    broker = fake(left=Search([LIST, BUSY]))
    findings = told(check_orphans, case(broker, options={"queues": ("celeryev.b",)}))
    assert ("note", "celeryev.b stays: it is being read\n") in findings


def test_what_cannot_be_seen_is_told_with_the_way_to_see_it(case, fake, told):
    broker = fake(left=Search(gap="AMQP lists no queues", command="rabbitmqctl x"))
    ((severity, text),) = told(check_orphans, case(broker))
    assert severity == "note"
    assert "AMQP lists no queues" in text
    assert "\n  rabbitmqctl x\n" in text
    broker = fake(left=Search(gap="too many keys"))
    ((_, text),) = told(check_orphans, case(broker))
    assert text.endswith("too many keys\n")
