"""The thread that asks: answers of very many workers, of some, and of none."""

import pytest

from cluster.impostor import Impostor
from evtools.clock import SystemClock
from evtools.top.survey import Inquiry, Inspector
from evtools.transport import ConnectionSettings
from servers.process import wait_until

MANY = 500
NODES = [f"w{number}@fleet" for number in range(MANY)]


@pytest.fixture
def ask(request):
    """Put inquiries to the workers at a broker, and return all answers once they are over."""

    def put(settings, *inquiries, while_waiting=lambda: None):
        inspector = Inspector(settings, lambda: None, clock=SystemClock())
        request.addfinalizer(inspector.close)
        for inquiry in inquiries:
            inspector.ask(inquiry)
        answers = []

        def are_over():
            while (answer := inspector.take()) is not None:
                answers.append(answer)
            return sum(answer.over for answer in answers) == len(inquiries)

        while_waiting()
        wait_until(are_over, deadline=90, what="the answers")
        return answers

    return put


@pytest.fixture
def fleet(broker_url, event_exchange):
    """Return settings of a cluster of 500 workers that all answer."""

    def answer(send, _):
        for node in NODES:
            send({node: [{"id": f"{node}-{number}", "name": "x"} for number in range(10)]})

    impostor = Impostor(broker_url, event_exchange, answer)
    yield ConnectionSettings(urls=broker_url, control_exchange=event_exchange)
    impostor.end()


def test_500_workers_are_all_answered_for(fleet, ask):
    inquiries = [Inquiry(name, deadline=80, expected=MANY) for name in ("active", "reserved")]
    answers = ask(fleet, *inquiries)
    for inquiry in inquiries:
        own = [answer for answer in answers if answer.inquiry is inquiry]
        found = [node for answer in own for node in answer.by_node]
        assert sorted(found) == sorted(NODES)
        assert (own[-1].replied, own[-1].error) == (MANY, "")


def test_a_worker_that_does_not_answer_holds_up_no_other(celery_worker, ask):
    settings = ConnectionSettings(urls=celery_worker.broker_url)
    name = celery_worker.hostname
    asked = Inquiry("ping", destination=(name, "nobody@x"), deadline=3.0, expected=2)
    answers = ask(settings, asked)
    assert [answer.by_node for answer in answers if answer.by_node] == [{name: {"ok": "pong"}}]
    assert (answers[0].over, answers[-1].over, answers[-1].replied) == (False, True, 1)


def test_who_may_not_publish_learns_why_and_goes_on(rabbitmq_server, ask):
    url = rabbitmq_server.vhost_url("/", user="listener", password="listener-secret")
    [answer] = ask(ConnectionSettings(urls=url), Inquiry("ping", deadline=2.0))
    assert answer.over
    assert answer.error


def test_a_connection_that_was_lost_meanwhile_is_made_again(own_redis, ask):
    settings = ConnectionSettings(urls=own_redis.url)
    inspector = Inspector(settings, lambda: None, clock=SystemClock())
    answers = []

    def put():
        answers.clear()
        inspector.ask(Inquiry("ping", deadline=0.3))

    def is_over():
        answers.extend(filter(None, [inspector.take()]))
        return bool(answers)

    try:
        put()
        wait_until(is_over, deadline=60, what="an answer")
        assert answers[0].error == ""
        own_redis.kill()
        put()
        wait_until(is_over, deadline=60, what="an answer")
        assert answers[0].error
        for _ in range(2):
            own_redis.start()
            put()
            wait_until(is_over, deadline=60, what="an answer")
            assert answers[0].error == ""
            # It may also be back before anything is asked.
            own_redis.kill()
    finally:
        inspector.close()
