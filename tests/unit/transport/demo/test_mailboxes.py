import logging

import pytest

from evtools.transport import ConnectionSettings, broadcast, connect
from evtools.transport.control import mailbox
from evtools.transport.demo.mailboxes import Mailboxes
from tools.rehearsal import Rehearsal


@pytest.fixture
def settings(event_exchange):
    return ConnectionSettings(
        urls="memory://mailboxes", control_exchange=f"{event_exchange}-control"
    )


@pytest.fixture
def connection(settings):
    with connect(settings) as connection:
        yield connection


@pytest.fixture
def rehearsal():
    return Rehearsal(fates=False).play(0)


@pytest.fixture
def mailboxes(connection, settings, rehearsal):
    return Mailboxes(connection, settings, rehearsal.workers.values())


def serve(mailboxes, rehearsal):
    for _ in rehearsal.workers:
        mailboxes.serve(0)


def beats(rehearsal):
    return {event["hostname"] for event in rehearsal.of("worker-heartbeat")}


def test_a_broadcast_is_for_all(mailboxes, connection, settings, rehearsal):
    broadcast(connection, "heartbeat", settings=settings)
    serve(mailboxes, rehearsal)
    assert beats(rehearsal) == set(rehearsal.workers)


def test_a_command_may_be_for_some(mailboxes, connection, settings, rehearsal):
    broadcast(connection, "heartbeat", settings=settings, destination=["w1@demo-a"])
    serve(mailboxes, rehearsal)
    assert beats(rehearsal) == {"w1@demo-a"}


def test_who_is_not_there_obeys_nothing(mailboxes, connection, settings, rehearsal):
    rehearsal.workers["w1@demo-a"].die(away=10)
    broadcast(connection, "heartbeat", settings=settings)
    serve(mailboxes, rehearsal)
    assert beats(rehearsal) == set(rehearsal.workers) - {"w1@demo-a"}


def test_nonsense_is_survived_in_silence(mailboxes, connection, settings, rehearsal, caplog):
    box = mailbox(connection, settings)
    with caplog.at_level(logging.DEBUG):
        box._publish("no_such_command", {"a": 1})
        box._publish("ping", ["not", "named"])
        serve(mailboxes, rehearsal)
        serve(mailboxes, rehearsal)
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_no_mail_is_no_work(mailboxes):
    mailboxes.serve(0)
