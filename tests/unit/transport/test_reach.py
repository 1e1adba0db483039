"""Whether a broker lets us in."""

import socket
import uuid

import pytest
from amqp.exceptions import AMQPError

from evtools.errors import AccessRefused, BrokerUnavailable
from evtools.transport import call, explain
from evtools.transport.connection import probe
from evtools.transport.settings import ConnectionSettings, Renewal

NOBODY = "redis://127.0.0.1:1/0"


def test_one_of_several_is_enough(redis_url):
    probe(ConnectionSettings(urls=f"{NOBODY};{redis_url}"))


def test_a_password_that_was_changed_is_read_again(redis_acl):
    name = f"rotating{uuid.uuid4().hex}"
    redis_acl.redis_cli("ACL", "SETUSER", name, "on", ">new", "~*", "&*", "+@all")
    old = f"redis://{name}:old@127.0.0.1:{redis_acl.port}/0"
    new = old.replace(":old@", ":new@")
    renewal = Renewal(old, lambda: new, due=False)
    settings = ConnectionSettings(urls=old, renewal=renewal)
    probe(settings)
    assert settings.current == new
    probe(settings)


def test_a_password_that_is_wrong_still_is_a_refusal(redis_acl):
    url = f"redis://operator:wr0ng@127.0.0.1:{redis_acl.port}/0"
    renewal = Renewal(url, lambda: url, due=False)
    with pytest.raises(AccessRefused) as refused:
        probe(ConnectionSettings(urls=url, renewal=renewal))
    assert "wr0ng" not in refused.value.message


def test_of_several_the_last_says_why():
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1"):
        probe(ConnectionSettings(urls=f"{NOBODY};{NOBODY}"))


def test_a_broker_that_is_short_of_memory_says_so_to_who_publishes(rabbitmq_server):
    rabbitmq_server.rabbitmqctl("set_vm_memory_high_watermark", "0.00001")
    try:
        settings = ConnectionSettings(urls=rabbitmq_server.url, connect_timeout=20)
        with pytest.raises(AMQPError) as caught:
            call(settings, "ping", deadline=20)
        error = explain(caught.value, settings)
        assert type(error) is BrokerUnavailable
        assert "alarm: the broker takes nothing" in error.message
        assert "rabbitmq-diagnostics -q alarms" in error.hint
    finally:
        rabbitmq_server.rabbitmqctl("set_vm_memory_high_watermark", "0.9")


def test_one_that_does_not_answer_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings = ConnectionSettings(urls=f"amqp://127.0.0.1:{port}//", connect_timeout=0.1)
        with pytest.raises(BrokerUnavailable, match="no answer"):
            probe(settings)


def test_every_real_broker_lets_us_in(broker_url):
    probe(ConnectionSettings(urls=broker_url))


def test_a_wrong_password_is_refused(rabbitmq_server):
    place = rabbitmq_server.url.rpartition("@")[2]
    url = f"amqp://guest:wrong@{place.removeprefix('amqp://')}"
    with pytest.raises(AccessRefused) as refused:
        probe(ConnectionSettings(urls=url))
    assert "wrong" not in str(refused.value)
