"""Getting connected to real servers, and what is said when that fails."""

from __future__ import annotations

import itertools
import socket
from dataclasses import replace

import pytest
from amqp.exceptions import AMQPError

from evtools.errors import AccessRefused, BrokerUnavailable, UsageError
from evtools.transport import TLS, ConnectionSettings, EventDispatcher, call, connect, explain
from evtools.transport.connection import client_name
from evtools.transport.receiver import subscribe
from evtools.transport.streams.redis import RedisStream
from evtools.wire import ENVELOPE, Message
from servers.process import wait_until


def reach(urls, **settings):
    """Connect and open a channel, which says whether all is well."""
    with connect(ConnectionSettings(urls=urls, **settings)) as connection:
        channel = connection.channel()
        channel.close()


def failure(urls, **settings):
    """Return the explanation of why the broker cannot be reached."""
    wanted = ConnectionSettings(urls=urls, source_of_url="-b flag", **settings)
    with connect(wanted) as connection, pytest.raises(Exception) as caught:  # noqa: PT011
        connection.channel()
    error = explain(caught.value, wanted)
    assert error.hint.startswith("tried: -b flag.")
    assert "\n" not in error.message
    return error


@pytest.fixture
def silent_port():
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


# --- Either


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_nobody_listens(scheme):
    error = failure(f"{scheme}://127.0.0.1:1/")
    assert type(error) is BrokerUnavailable
    assert "TCP: connection refused" in error.message


@pytest.mark.parametrize("scheme", ["redis", "amqp", "rediss", "amqps"])
def test_a_silent_server_does_not_hang_us(scheme, silent_port):
    error = failure(f"{scheme}://127.0.0.1:{silent_port}/", connect_timeout=0.3)
    assert type(error) is BrokerUnavailable
    assert "no answer (--connect-timeout 0.3s)" in error.message
    assert ("TLS: " in error.message) == (scheme in {"rediss", "amqps"})


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
@pytest.mark.parametrize("name", ["no-such-host", "my-cluster", "noauth", "moved"])
def test_a_host_that_does_not_exist(scheme, name):
    error = failure(f"{scheme}://{name}.invalid/")
    assert type(error) is BrokerUnavailable
    assert f"DNS: {name}.invalid: " in error.message


@pytest.mark.parametrize("name", ["cluster", "wrongpass", "timeout", "no such"])
def test_a_socket_that_does_not_exist(name):
    error = failure(f"redis+socket:///tmp/evtools {name}/redis.sock")
    assert type(error) is BrokerUnavailable
    assert "no such socket" in error.message


# --- Redis


def test_redis_is_reached(redis_url):
    reach(redis_url)


def test_redis_shows_our_name(redis_server, redis_url):
    with connect(ConnectionSettings(urls=redis_url, tool="evdump")) as connection:
        assert connection.channel()
        clients = redis_server.redis_cli("client", "list")
    assert f"name={client_name('evdump')} " in clients


def test_redis_with_a_user_and_an_odd_password(redis_acl):
    odd = "odd:p%40ss%2Fw%3Ard%20%2525"
    reach(f"redis://{odd}@127.0.0.1:{redis_acl.port}/0")


@pytest.mark.parametrize("user", ["operator:wr0ng@", "operator@", ":wr0ng@", ""])
def test_redis_refuses_the_login(redis_acl, user):
    error = failure(f"redis://{user}127.0.0.1:{redis_acl.port}/0")
    assert type(error) is AccessRefused
    assert ": login: " in error.message
    assert "wr0ng" not in error.message


def test_redis_refuses_the_right(redis_acl):
    user = "nobody:nobody-secret@"
    redis_acl.redis_cli("acl", "setuser", "nobody", "-ping")
    try:
        error = failure(f"redis://{user}127.0.0.1:{redis_acl.port}/0")
    finally:
        redis_acl.redis_cli("acl", "setuser", "nobody", "+ping")
    assert type(error) is AccessRefused
    assert ": permission: " in error.message
    assert "nobody-secret" not in error.message
    # A name is of use to the administrator, who may forbid it.
    reach(f"redis://{user}127.0.0.1:{redis_acl.port}/0")


@pytest.mark.parametrize("name", ["cluster", "channel", "moved", "sentinel", "login"])
def test_the_name_of_a_redis_user_is_no_reason(redis_acl, name):
    redis_acl.redis_cli("acl", "setuser", name, "on", f">{name}", "-@all")
    try:
        error = failure(f"redis://{name}:{name}@127.0.0.1:{redis_acl.port}/0")
    finally:
        redis_acl.redis_cli("acl", "deluser", name)
    assert type(error) is AccessRefused
    assert ": permission: " in error.message


def test_redis_without_that_database(redis_server):
    error = failure(redis_server.database_url(99_999))
    assert type(error) is AccessRefused
    assert "database: DB index is out of range" in error.message


def test_redis_with_tls(redis_tls, authority):
    reach(redis_tls, tls=TLS(ca=str(authority.ca)))
    reach(f"{redis_tls}?ssl_ca_certs={authority.ca}")
    reach(redis_tls, tls=TLS(verify="none"))
    reach(redis_tls.replace("rediss", "redis"), tls=TLS(enabled=True, verify="none"))


def test_redis_with_a_certificate_of_somebody_else(redis_tls, authority):
    for tls in (TLS(), TLS(ca=str(authority.other))):
        error = failure(redis_tls, tls=tls)
        assert type(error) is AccessRefused
        assert ": TLS: " in error.message
        assert "--tls-ca" in error.hint


def test_redis_with_a_certificate_for_another_host(redis_tls, authority):
    url = redis_tls.replace("localhost", "127.1")
    error = failure(url, tls=TLS(ca=str(authority.ca)))
    assert type(error) is AccessRefused
    assert ": TLS: " in error.message
    reach(url, tls=TLS(ca=str(authority.ca), check_hostname=False))


def test_redis_that_wants_a_client_certificate(redis_mutual_tls, authority):
    url = f"rediss://localhost:{redis_mutual_tls.tls_port}/0"
    error = failure(url, tls=TLS(ca=str(authority.ca)))
    assert ": T" in error.message
    reach(
        url,
        tls=TLS(
            ca=str(authority.ca), cert=str(authority.client.cert), key=str(authority.client.key)
        ),
    )


def test_redis_spoken_to_the_wrong_port(redis_server, rabbitmq_server):
    plain = failure(f"redis://127.0.0.1:{redis_server.tls_port}/0")
    assert "--tls" in plain.hint
    other = failure(f"redis://127.0.0.1:{rabbitmq_server.port}/0")
    assert "does not speak Redis's protocol" in other.message


@pytest.mark.parametrize(
    "lacks",
    [
        *(["HELLO"], ["CLIENT"], ["INFO"], ["CONFIG"], ["ACL"], ["SELECT"]),
        ["HELLO", "CLIENT", "INFO", "CONFIG", "SELECT", "PUBSUB", "SUBSCRIBE", "ACL"],
    ],
)
def test_redis_is_watched_without_what_proxies_and_old_servers_lack(start_redis, lacks):
    server = start_redis(lacks=lacks)
    stream = subscribe(ConnectionSettings(urls=server.url))
    server.redis_cli("PUBLISH", "/0.celeryev/a", "hello")
    assert stream.drain(5) == [Message(b"hello", ENVELOPE)]
    stream.close()
    server.kill()


@pytest.mark.parametrize(
    ("lacks", "settings", "hint"),
    [
        ("PING", {}, "rename-command"),
        ("HELLO", {"options": {"protocol": 3}}, "leave that transport option out"),
        ("SELECT", {"database": 1}, "/0"),
        ("PSUBSCRIBE", {}, "--no-fanout-patterns"),
    ],
)
def test_what_a_server_lacks_is_no_missing_right(start_redis, lacks, settings, hint):
    server = start_redis(lacks=[lacks])
    wanted = ConnectionSettings(
        urls=server.database_url(settings.get("database", 0)), options=settings.get("options", {})
    )
    with pytest.raises(RedisStream.errors) as caught:
        subscribe(wanted)
    error = explain(caught.value, wanted)
    assert type(error) is AccessRefused
    assert f"command: the server has no {lacks}" in error.message
    assert hint in error.hint
    server.kill()


@pytest.mark.parametrize("lacks", ["PSUBSCRIBE", "SUBSCRIBE"])
@pytest.mark.parametrize("how", ["rename-command", "ACL"])
def test_channels_with_a_name_need_one_of_two_commands(start_redis, lacks, how):
    server = start_redis(lacks=[lacks] if how == "rename-command" else [])
    may = {"PSUBSCRIBE": "+subscribe", "SUBSCRIBE": "+psubscribe"}[lacks]
    rules = f"on >p -@all +ping {may} resetchannels &/0.celeryev"
    server.redis_cli("ACL", "SETUSER", "watcher", *rules.split())
    user = "watcher:p@" if how == "ACL" else ""
    wanted = ConnectionSettings(
        urls=server.url.replace("://", f"://{user}"),
        options={"fanout_patterns": False},
        read_only=True,
    )
    stream = subscribe(wanted)
    server.redis_cli("PUBLISH", "/0.celeryev", "hello")
    assert stream.drain(5) == [Message(b"hello", ENVELOPE)]
    stream.close()
    server.kill()


def test_redis_is_full(start_redis):
    server = start_redis(directives=["maxclients 1"])
    with connect(ConnectionSettings(urls=server.url)) as connection:
        assert connection.channel()
        error = failure(server.url)
    assert type(error) is BrokerUnavailable
    assert "limit: max number of clients reached" in error.message
    assert "CLIENT LIST" in error.hint
    server.kill()


# --- Sentinel


def test_sentinel_leads_to_the_master(sentinel):
    reach(sentinel.url, options={"master_name": sentinel.master_name})


def test_a_dead_sentinel_does_not_matter(sentinel):
    reach(
        f"sentinel://127.0.0.1:1;127.0.0.1:{sentinel.port}/0",
        options={"master_name": sentinel.master_name},
    )


def test_sentinel_does_not_know_the_master(sentinel):
    error = failure(sentinel.url, options={"master_name": "nosuchmaster"})
    assert type(error) is BrokerUnavailable
    known = f"no master of the name nosuchmaster; it watches {sentinel.master_name}"
    assert f"Sentinel: {known}" in error.message
    assert "master_name=" in error.hint


def test_no_sentinel_answers():
    url = "sentinel://127.0.0.1:1;127.0.0.1:2/0"
    error = failure(url, options={"master_name": "m"})
    assert type(error) is BrokerUnavailable
    assert "TCP: Sentinel 127.0.0.1:1: connection refused" in error.message


@pytest.mark.parametrize("password", [{}, {"password": "wr0ng"}])
def test_sentinel_wants_a_password_of_its_own(own_redis, start_sentinel, password):
    sentinel = start_sentinel(own_redis, password="s3ntinel")
    name = {"master_name": sentinel.master_name}
    error = failure(sentinel.url, options=name | {"sentinel_kwargs": password})
    assert type(error) is AccessRefused
    assert f"login: Sentinel 127.0.0.1:{sentinel.port}: " in error.message
    assert "wr0ng" not in error.message
    assert 'sentinel_kwargs=\'{"password": "PASSWORD"}\'' in error.hint
    reach(sentinel.url, options=name | {"sentinel_kwargs": {"password": "s3ntinel"}})


def test_the_master_wants_a_password_of_its_own(redis_acl, start_sentinel):
    sentinel = start_sentinel(redis_acl)
    name = {"master_name": sentinel.master_name}
    for user in ("", "operator:wr0ng@"):
        url = sentinel.url.replace("://", f"://{user}")
        error = failure(url, options=name)
        assert type(error) is AccessRefused
        assert f"login: master 127.0.0.1:{redis_acl.port}: " in error.message
        assert "sentinel://USER:PASSWORD@" in error.hint
    reach(sentinel.url.replace("://", "://operator:operator-secret@"), options=name)


def test_sentinel_speaks_tls(own_redis, start_sentinel, authority):
    sentinel = start_sentinel(own_redis, authority=authority)
    url = sentinel.url.replace("127.0.0.1", "localhost")
    name = {"master_name": sentinel.master_name}
    plain = failure(url, options=name)
    strange = failure(url, options=name | {"sentinel_kwargs": {"ssl": True}})
    for error in (plain, strange):
        assert f"Sentinel localhost:{sentinel.port}: " in error.message
        assert '{"ssl": true, "ssl_ca_certs": "FILE"}' in error.hint
    assert ": TLS: " in strange.message
    trusting = {"ssl": True, "ssl_ca_certs": str(authority.ca)}
    # The server's session tickets come when they like, each time.
    for _ in range(20):
        reach(url, options=name | {"sentinel_kwargs": trusting})


def test_sentinel_says_that_the_master_is_down(sentinel):
    sentinel.master.kill()
    options = {"master_name": sentinel.master_name}
    wait_until(
        lambda: "is down" in failure(sentinel.url, options=options).message,
        what="the Sentinel to see that its master is down",
    )
    down = failure(sentinel.url, options=options)
    assert type(down) is BrokerUnavailable
    assert "as soon as the Sentinels agree on a master" in down.hint


def test_the_master_that_sentinel_names_does_not_answer(sentinel):
    # The Sentinel needs a second to see it.
    options = {"master_name": sentinel.master_name}
    where = f"master 127.0.0.1:{sentinel.master.port}: connection refused"
    sentinel.process.freeze()
    sentinel.master.kill()
    sentinel.process.thaw()
    error = failure(sentinel.url, options=options)
    assert where in error.message or "is down" in error.message
    assert type(error) is BrokerUnavailable


def test_too_few_sentinels_see_the_master(sentinel):
    options = {"master_name": sentinel.master_name, "min_other_sentinels": 2}
    error = failure(sentinel.url, options=options)
    assert type(error) is BrokerUnavailable
    assert "is watched by 0 other Sentinels, and min_other_sentinels" in error.message


def test_a_master_is_no_sentinel(redis_server):
    error = failure(f"sentinel://127.0.0.1:{redis_server.port}/0", options={"master_name": "m"})
    assert type(error) is AccessRefused
    assert "it is no Sentinel" in error.message


def test_sentinel_without_a_name_is_not_even_tried():
    with pytest.raises(UsageError, match="name of the master"):
        connect(ConnectionSettings(urls="sentinel://127.0.0.1:1"))


# --- RabbitMQ


def test_rabbitmq_is_reached(rabbitmq_url):
    reach(rabbitmq_url)


def test_rabbitmq_shows_our_name(rabbitmq_server):
    settings = ConnectionSettings(urls=rabbitmq_server.url, tool="evdump")
    with connect(settings) as connection:
        assert connection.channel()
        names = [
            value
            for row in rabbitmq_server.list_connections("client_properties")
            for name, _, value in row["client_properties"]
            if name == "connection_name"
        ]
    assert client_name("evdump") in names


def test_rabbitmq_with_an_odd_password_and_an_odd_vhost(rabbitmq_server):
    odd = rabbitmq_server.vhost_url("", user="odd", password="p%40ss%2Fw%3Ard%20%2525")
    reach(odd)
    reach(rabbitmq_server.vhost_url("team%2Fqueue"))


def test_rabbitmq_is_short_of_memory_and_says_so_to_who_publishes(rabbitmq_server):
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


def test_rabbitmq_refuses_the_login(rabbitmq_server):
    error = failure(rabbitmq_server.vhost_url("", password="wr0ng"))
    assert type(error) is AccessRefused
    assert ": login: Login was refused" in error.message
    assert "wr0ng" not in error.message


def test_rabbitmq_without_that_login_method(rabbitmq_url):
    error = failure(rabbitmq_url, login_method="EXTERNAL")
    assert type(error) is AccessRefused
    assert ": login: " in error.message


@pytest.mark.parametrize(
    ("vhost", "user", "words"),
    [
        ("nosuch", "guest", "vhost nosuch not found"),
        ("staging", "listener", "vhost: access to vhost 'staging' refused"),
    ],
)
def test_rabbitmq_refuses_the_vhost(rabbitmq_server, vhost, user, words):
    url = rabbitmq_server.vhost_url(vhost, user=user, password=rabbitmq_server.users[user])
    error = failure(url)
    assert type(error) is AccessRefused
    assert words in error.message


def test_rabbitmq_with_tls(rabbitmq_tls, authority):
    mutual = TLS(
        ca=str(authority.ca), cert=str(authority.client.cert), key=str(authority.client.key)
    )
    reach(rabbitmq_tls, tls=TLS(ca=str(authority.ca)))
    reach(rabbitmq_tls, tls=mutual)
    reach(rabbitmq_tls, tls=TLS(verify="none"))
    reach(rabbitmq_tls.replace("amqps", "amqp"), tls=TLS(enabled=True, ca=str(authority.ca)))


def test_rabbitmq_with_a_certificate_of_somebody_else(rabbitmq_tls, authority):
    for tls in (TLS(), TLS(ca=str(authority.other))):
        error = failure(rabbitmq_tls, tls=tls)
        assert type(error) is AccessRefused
        assert ": TLS: " in error.message


def test_rabbitmq_with_a_certificate_for_another_host(rabbitmq_tls, authority):
    url = rabbitmq_tls.replace("localhost", "127.1")
    error = failure(url, tls=TLS(ca=str(authority.ca)))
    assert type(error) is AccessRefused
    assert ": TLS: " in error.message
    reach(url, tls=TLS(ca=str(authority.ca), check_hostname=False))


def test_rabbitmq_spoken_to_the_wrong_port(rabbitmq_server, redis_server):
    tls = failure(f"amqps://127.0.0.1:{rabbitmq_server.port}//")
    assert type(tls) is AccessRefused
    assert "TLS: it speaks none" in tls.message
    plain = failure(f"amqp://127.0.0.1:{rabbitmq_server.tls_port}//")
    assert "--tls" in plain.hint
    other = failure(f"amqp://127.0.0.1:{redis_server.port}//", connect_timeout=1)
    assert "no answer" in other.message


# --- TLS by name


@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
@pytest.mark.parametrize("unchecked", [{"verify": "none"}, {"check_hostname": False}])
def test_the_host_is_named_where_its_name_is_not_checked(named, authority, kind, unchecked):
    proxy, url = named(kind, "localhost")
    reach(url, tls=TLS(ca=str(authority.ca), **unchecked))
    assert set(proxy.called) == {"localhost"}


@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
def test_another_name_is_asked_for_and_checked(named, authority, kind):
    proxy, url = named(kind, "elsewhere.invalid")
    tls = TLS(ca=str(authority.ca), server_name="elsewhere.invalid")
    reach(url.replace("localhost", "127.0.0.1"), tls=tls)
    assert set(proxy.called) == {"elsewhere.invalid"}
    _, url = named(kind, "other.invalid")
    error = failure(url, tls=replace(tls, server_name="other.invalid"))
    assert type(error) is AccessRefused
    assert "other.invalid" in error.message
    error = failure(url, tls=tls)
    assert "does not go by the name" in error.message
    assert "--tls-server-name" in error.hint


# --- a dispatcher -----------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_a_real_broker_may_go_and_come_back(own_broker, celery_capture):
    settings = ConnectionSettings(urls=own_broker.url, connect_timeout=1.0)
    with (
        connect(settings) as connection,
        EventDispatcher(connection, "ours@host", buffer_group=["task"]) as dispatcher,
    ):
        dispatcher.send("a", n=-1)
        own_broker.kill()
        n = itertools.count()
        # The first may vanish in the dead connection's socket without an error.
        kept = dispatcher._outbound_buffer
        wait_until(
            lambda: dispatcher.send("a", n=next(n)) or len(kept) > 2,
            what="an error of the dead connection",
        )
        waiting = [body["n"] for body, _ in kept]
        own_broker.start()
        capture = celery_capture(own_broker.url)
        wait_until(lambda: dispatcher.flush() or not kept, what="a flush")
        for n in (997, 998):
            dispatcher.send("task-sent", uuid="u", n=n)
        dispatcher.flush()
        dispatcher.send("shop-order-paid", n=999)
        # As Celery's own receiver sees them.
        capture.wait_for(type="shop-order-paid", n=999)
        assert [event["n"] for event in capture.events] == [*waiting, 997, 998, 999]
        assert {event["hostname"] for event in capture.events} == {"ours@host"}
        assert capture.sizes == [*[1] * len(waiting), 2, 1]
