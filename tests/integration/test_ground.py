"""The servers, workers and terminals that the other tests stand on."""

from __future__ import annotations

import signal
import ssl
import sys

import pytest
from amqp import AccessRefused
from kombu import Connection

from cluster.app import HOSTILE
from cluster.script import ENDINGS, run_everything
from tools.command import Starter


def answers(url, *, timeout=20, **settings):
    """Say whether a client gets a connection."""
    timeouts = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), timeout)
    settings.setdefault("transport_options", {}).update(timeouts)
    with Connection(url, connect_timeout=timeout, **settings) as connection:
        try:
            connection.ensure_connection(
                max_retries=1, interval_start=0, reraise_as_library_errors=False
            )
            connection.default_channel.queue_declare("ground", auto_delete=True)
        except (OSError, *connection.connection_errors):
            return False
    return True


def test_each_test_gets_a_redis_database_of_its_own(redis_server, redis_url):
    assert redis_url != redis_server.fresh_url()
    assert answers(redis_url)


def test_rabbitmq_answers(rabbitmq_url):
    assert answers(rabbitmq_url)


def test_rabbitmq_lists_queues_and_connections(rabbitmq_server, rabbitmq_url):
    with Connection(rabbitmq_url) as connection:
        queue = connection.SimpleQueue("ground-listed")
        listed = rabbitmq_server.list_queues("name", "durable")
        queue.close()
        assert {"name": "ground-listed", "durable": True} in listed
        assert rabbitmq_server.list_connections("user")[0]["user"] == "guest"
        queue.queue.delete()


def test_rabbitmq_has_users_and_virtual_hosts(rabbitmq_server):
    assert answers(rabbitmq_server.vhost_url("staging"))
    assert answers(rabbitmq_server.vhost_url("team%2Fqueue"))
    odd = rabbitmq_server.vhost_url("", user="odd", password="p%40ss%2Fw%3Ard%20%2525")
    assert answers(odd)
    with (
        Connection(rabbitmq_server.vhost_url("", user="guest", password="x")) as connection,
        pytest.raises(AccessRefused),
    ):
        connection.connect()


def test_redis_speaks_tls(redis_tls, authority):
    trusting = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": str(authority.ca)}
    assert answers(redis_tls, ssl=trusting)
    trusting["ssl_ca_certs"] = str(authority.other)
    assert not answers(redis_tls, ssl=trusting)


def test_redis_can_ask_for_a_client_certificate(redis_mutual_tls, authority):
    ours = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": str(authority.ca)}
    assert not answers(redis_mutual_tls.fresh_tls_url(), ssl=ours)
    ours["ssl_certfile"] = str(authority.client.cert)
    ours["ssl_keyfile"] = str(authority.client.key)
    assert answers(redis_mutual_tls.fresh_tls_url(), ssl=ours)


def test_rabbitmq_speaks_tls(rabbitmq_tls, authority):
    assert answers(rabbitmq_tls, ssl={"ca_certs": str(authority.ca)})
    assert not answers(rabbitmq_tls, ssl={"ca_certs": str(authority.other)})


def test_redis_can_ask_for_a_name(redis_acl):
    assert answers(redis_acl.url)
    assert not answers(f"redis://127.0.0.1:{redis_acl.port}/0")


def test_sentinel_names_its_master(sentinel):
    options = {"master_name": sentinel.master_name}
    assert answers(sentinel.url, transport_options=options)
    sentinel.master.kill()
    assert not answers(sentinel.url, transport_options=options)


# What RabbitMQ does then is seen in test_survival.py, where it costs less.
def test_a_server_freezes_dies_and_comes_back_on_its_port(own_redis):
    url = own_redis.url
    own_redis.freeze()
    assert not answers(url, timeout=0.5)
    own_redis.thaw()
    assert answers(url)
    own_redis.kill()
    assert not answers(url)
    own_redis.start()
    assert answers(url)
    own_redis.restart()
    assert own_redis.url == url
    assert answers(url)


def test_celerys_receiver_sees_the_events_of_a_task(celery_worker, celery_capture):
    capture = celery_capture(celery_worker.broker_url, celery_worker.event_exchange)
    sent = celery_worker.app.send_task("cluster.add", args=(2, 3))
    (ended,) = capture.wait_for(type="task-succeeded", uuid=sent.id)
    assert ended["result"] == "5"
    assert ended["hostname"] == celery_worker.hostname
    assert ended["pid"] == celery_worker.pid
    assert capture.types_of(sent.id) == [*("task-received", "task-started", "task-succeeded")]
    capture.wait_for(type="task-sent", uuid=sent.id)
    capture.stop()  # more heartbeats may come
    assert [e["type"] for e in capture.wire] == [e["type"] for e in capture.events]
    assert sum(capture.sizes) == len(capture.events)


def ending(types):
    """Return the last of the types that ends a task."""
    return next((type_ for type_ in reversed(types) if type_ in ENDINGS), None)


@pytest.mark.parametrize("server", ["redis", "rabbitmq"])
def test_celery_speaks_tls(request, server, worker, celery_capture, authority, event_exchange):
    url = request.getfixturevalue(f"{server}_tls")
    capture = celery_capture(url, event_exchange, ca=authority.ca)
    started = worker(url, event_exchange=event_exchange, ca=authority.ca)
    capture.wait_for(type="worker-online", hostname=started.hostname)


def test_a_task_ends_in_every_way_it_can(celery_worker, celery_capture):
    capture = celery_capture(celery_worker.broker_url, celery_worker.event_exchange)
    sent = run_everything(celery_worker.app, capture)
    ends = {name: ending(capture.types_of(uuid)) for name, uuid in sent.items()}
    assert ends == {
        "succeeded": "task-succeeded",
        "long": "task-succeeded",
        "hostile": "task-succeeded",
        "failed": "task-failed",
        "unregistered": "task-failed",
        "retried": "task-succeeded",
        "retried in vain": "task-failed",
        "rejected": "task-rejected",
        "requeued": "task-succeeded",
        "ignored": None,
        "expired": "task-revoked",
        "revoked": "task-revoked",
        "terminated": "task-revoked",
        "soft limit": "task-failed",
        "soft limit survived": "task-succeeded",
        "hard limit": "task-failed",
        "progress": "task-succeeded",
        "announced": "task-succeeded",
        "parent": "task-succeeded",
        "chain": "task-succeeded",
        "group": "task-succeeded",
    }
    (failed,) = capture.select(type="task-failed", uuid=sent["failed"])
    assert failed["exception"] == f"HostileError({HOSTILE!r})"
    assert {e["type"] for e in capture.events} >= {
        *("task-progress", "billing-invoice-paid", "task-retried", "task-rejected")
    }


@pytest.mark.timeout(120)
def test_a_worker_says_goodbye_and_can_be_killed(
    worker, celery_capture, broker_url, event_exchange
):
    capture = celery_capture(broker_url, event_exchange)
    first = worker(broker_url, event_exchange=event_exchange, concurrency=1)
    capture.wait_for(type="worker-online", hostname=first.hostname)
    first.stop()
    capture.wait_for(type="worker-offline", hostname=first.hostname)
    first.start()
    first.freeze()
    first.thaw()
    capture.wait_for(type="worker-online", hostname=first.hostname, count=2)
    first.kill()
    assert len(capture.select(type="worker-offline")) == 1


@pytest.fixture
def python(tmp_path):
    starter = Starter(tmp_path)
    yield lambda code, **how: starter.start([sys.executable, "-c", code], **how)
    starter.end()


def test_a_command_with_pipes(python):
    command = python(
        "import sys\nfor line in sys.stdin: print(line.upper(), end='', flush=True)\n"
        "print('the end', file=sys.stderr)",
        stdin=True,
    )
    command.type("one\n")
    assert command.lines(1) == ["ONE"]
    command.type("two\n")
    command.end_input()
    assert command.wait() == 0
    assert command.stdout == "ONE\nTWO\n"
    assert command.stderr == "the end\n"


def test_a_command_that_ends_early_says_why(python):
    command = python("raise SystemExit('no such thing')")
    with pytest.raises(AssertionError, match="no such thing"):
        command.lines(1)
    assert command.wait() == 1


def test_a_command_on_a_terminal(python):
    command = python(
        "import os, signal, sys\n"
        "size = lambda *_: print(*os.get_terminal_size(), flush=True)\n"
        "signal.signal(signal.SIGWINCH, size)\n"
        "size(); print('\\x1b[31mred\\x1b[0m', sys.stdout.isatty(), flush=True)\n"
        "print(input().upper(), flush=True)\n"
        "signal.pause(); signal.pause()",
        terminal=(60, 10),
    )
    assert command.wait_screen("red True") == "60 10\nred True"
    command.type("typed\n")
    command.wait_screen("TYPED")
    command.resize(50, 8)
    command.wait_screen("50 8")
    command.type("\x03")
    assert command.wait() == -signal.SIGINT
    assert "KeyboardInterrupt" in command.stderr


@pytest.mark.parametrize("terminal", [None, (40, 5)])
def test_a_command_can_be_stopped_and_continued(python, terminal):
    command = python(
        "import signal\n"
        "signal.signal(signal.SIGCONT, lambda *_: print('back', flush=True))\n"
        "print('here', flush=True)\n"
        "while True: signal.pause()",
        terminal=terminal,
    )
    command.wait_stdout("here")
    if terminal:
        command.type("\x1a")
    else:
        command.send_signal(signal.SIGTSTP)
    command.wait_stopped()
    if terminal:
        command.continue_in_foreground()
    else:
        command.send_signal(signal.SIGCONT)
    command.wait_stdout("back")
    if terminal:
        command.type("\x03")
        assert command.wait() == -signal.SIGINT
    else:
        assert command.stop(signal.SIGTERM) == -signal.SIGTERM
