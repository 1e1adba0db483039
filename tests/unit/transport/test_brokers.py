import pytest
from kombu.transport import TRANSPORT_ALIASES

from evtools.errors import UsageError
from evtools.transport.connection import check_transport
from evtools.transport.settings import ConnectionSettings
from evtools.transport.url import KINDS, REFUSED, kind_of


@pytest.mark.parametrize("name", sorted(TRANSPORT_ALIASES))
def test_every_transport_of_kombu_is_either_taken_or_refused(name):
    assert (name in KINDS) != (name.lower() in REFUSED)


@pytest.mark.parametrize(
    ("urls", "words"),
    [
        ("sqs://key:secret@", "SQS is not supported"),
        ("SQS://key:secret@", "SQS is not supported"),
        ("sqla+postgresql://u:secret@h/db", "An SQL database is not supported"),
        ("sqlalchemy+sqlite:///x.db", "An SQL database is not supported"),
        ("kafka://h", "Kafka is not supported"),
        ("filesystem://", "outlives its reader"),
        ("mongodb://u:secret@h", "MongoDB is not supported"),
        ("redis+cluster://h", "cannot use Redis Cluster"),
        ("rediss+cluster://h", "cannot use Redis Cluster"),
        ("valkey+cluster://h", "Valkey Cluster is not supported"),
        ("gcpubsub://projects/x", "Google Pub/Sub is not supported"),
        ("qpid://h", "Qpid's own transport is not supported"),
    ],
)
def test_a_broker_without_events_is_refused_with_the_reason(urls, words):
    with pytest.raises(UsageError, match=words) as caught:
        check_transport(ConnectionSettings(urls=urls))
    assert "secret" not in caught.value.message
    assert "amqp://" in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("scheme", "meant"),
    [
        ("valky", "valkey"),
        ("valkey+sentinel", "sentinel"),
        ("rabbitmq", "amqp"),
        ("reddis", "redis"),
        ("redis+sentinel", "sentinel"),
        ("rabbitmqs", "amqp"),
    ],
)
def test_an_unknown_broker_is_guessed(scheme, meant):
    with pytest.raises(UsageError, match="unknown kind of broker") as caught:
        kind_of(scheme)
    assert caught.value.hint == f"did you mean {meant}:// ?"


def test_an_unguessable_broker_is_told_what_would_do():
    with pytest.raises(UsageError) as caught:
        kind_of("xyzzy")
    assert "RabbitMQ" in caught.value.hint


def test_a_list_is_of_one_kind():
    with pytest.raises(UsageError, match="mixes kinds") as caught:
        check_transport(ConnectionSettings(urls="amqp://u:secret@a;redis://b"))
    assert "secret" not in caught.value.message
    check_transport(ConnectionSettings(urls="redis://a;rediss://b"))


def test_sentinel_needs_the_name_of_its_master():
    with pytest.raises(UsageError, match="name of the master") as caught:
        check_transport(ConnectionSettings(urls="sentinel://a"))
    assert "--broker-option master_name=" in caught.value.hint
    check_transport(ConnectionSettings(urls="sentinel://a", options={"master_name": "m"}))


@pytest.mark.parametrize("url", ["redis://", "redis+socket:///tmp/x", "memory://"])
def test_only_rabbitmq_can_share_out_events(url):
    with pytest.raises(UsageError, match="--queue ours: only RabbitMQ"):
        check_transport(ConnectionSettings(urls=url, event_queue="ours"))
    check_transport(ConnectionSettings(urls="amqp://", event_queue="ours"))
