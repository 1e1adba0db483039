import threading
import uuid

import pytest

from evtools.clock import SystemClock
from evtools.doctor.listening import ask, listen
from evtools.doctor.observation import Observation
from evtools.transport import ConnectionSettings
from servers.ports import HOST, free_port
from tools.flow import Sender


@pytest.fixture
def settings(celery_worker):
    return ConnectionSettings(
        urls=celery_worker.broker_url, event_exchange=celery_worker.event_exchange
    )


def test_events_and_answers_are_gathered(settings, celery_worker):
    seen = listen(settings, 3.0, SystemClock())
    assert seen.failure is None
    assert seen.seconds >= 3.0
    assert seen.signs(celery_worker.hostname).beats
    assert celery_worker.hostname in seen.pongs
    theirs = seen.settings[celery_worker.hostname]
    assert theirs["event_exchange"] == celery_worker.event_exchange


def test_a_broker_that_is_away_is_told_and_not_waited_for():
    settings = ConnectionSettings(urls=f"redis://{HOST}:{free_port()}/0")
    seen = listen(settings, 60.0, SystemClock())
    assert "connection refused" in seen.failure.message
    assert seen.pongs is None


def test_where_there_are_no_mailboxes_none_is_made(rabbitmq_server, event_exchange):
    name = uuid.uuid4().hex
    settings = ConnectionSettings(
        urls=rabbitmq_server.url, event_exchange=event_exchange, control_exchange=name
    )
    seen = listen(settings, 0.5, SystemClock(), asks=False)
    assert (seen.failure, seen.pongs) == (None, None)
    exchanges = rabbitmq_server.rabbitmqctl("list_exchanges", "name")
    assert event_exchange in exchanges
    assert name not in exchanges


@pytest.fixture
def source(redis_url):
    made = Sender(redis_url)
    yield made
    made.close()


def test_what_cannot_be_read_is_counted(redis_url, source):
    settings = ConnectionSettings(urls=redis_url, read_only=True)
    ended = threading.Event()

    def babble():
        while not ended.wait(0.1):
            source.send_body("[")

    thread = threading.Thread(target=babble)
    thread.start()
    try:
        seen = listen(settings, 1.0, SystemClock())
    finally:
        ended.set()
        thread.join()
    ((kind, count),) = seen.defects
    assert kind
    assert count > 1


def test_nobody_is_asked_where_nothing_may_be_published(redis_url):
    seen = Observation()
    ask(ConnectionSettings(urls=redis_url, read_only=True), seen)
    assert seen.pongs is None


def test_a_cluster_where_nobody_answers(redis_url):
    seen = Observation()
    ask(ConnectionSettings(urls=redis_url), seen, 0.1)
    assert seen.pongs == frozenset()


def test_who_may_not_ask_is_told_why(redis_acl):
    url = f"redis://listener:listener-secret@{HOST}:{redis_acl.port}/0"
    seen = Observation()
    ask(ConnectionSettings(urls=url), seen)
    assert seen.pongs is None
    assert "permission" in seen.refusal.message
