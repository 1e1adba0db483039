import re
from itertools import count

import pytest
from redis.exceptions import AuthenticationError

from evtools import __version__
from evtools.errors import AccessRefused, BrokerUnavailable, UsageError
from evtools.transport.connection import OneAttempt, client_name, connect, probe
from evtools.transport.settings import TLS, ConnectionSettings, Renewal


def made(urls, attempt=0, **settings):
    return connect(ConnectionSettings(urls=urls, **settings), attempt=attempt)


def test_an_amqp_url_is_taken_apart():
    connection = made("amqp://me:p%40ss@broker:5673/team%2Fqueue", heartbeat=7)
    assert (connection.hostname, connection.port) == ("broker", 5673)
    assert (connection.userid, connection.password) == ("me", "p@ss")
    assert (connection.virtual_host, connection.transport_cls) == ("team/queue", "pyamqp")
    assert (connection.heartbeat, connection.connect_timeout) == (7.0, 4.0)
    assert connection.ssl is False


def test_amqp_gets_deadlines_and_a_name_unless_the_user_knows_better():
    options = made("amqp://h//", connect_timeout=2, tool="evdump").transport_options
    assert (options["read_timeout"], options["write_timeout"]) == (2, 2)
    name = {"connection_name": client_name("evdump"), "product_version": __version__}
    assert options["client_properties"] == {"product": "evdump", **name}
    given = {"read_timeout": 9, "client_properties": {"product": "x"}}
    options = made("amqp://h//", tool="evdump", options=given).transport_options
    assert options["read_timeout"] == 9
    assert options["client_properties"] == {"product": "x", **name}


def test_the_login_method_comes_from_option_or_url():
    assert made("amqp://h//", login_method="EXTERNAL").login_method == "EXTERNAL"
    assert made("amqp://h//?login_method=PLAIN").login_method == "PLAIN"
    assert made("amqp://h//").login_method is None


@pytest.mark.parametrize("url", ["amqps://h//", "amqp://h//"])
def test_tls_uses_the_port_of_the_driver_and_names_the_host(url):
    connection = made(url, tls=TLS(enabled=True))
    assert connection.ssl["host"] == "h"
    assert connection.host == "h:5671" or connection.port is None


def test_a_reply_has_time_even_when_connecting_must_be_quick():
    options = made("redis://h/0", connect_timeout=0.5).transport_options
    assert (options["socket_connect_timeout"], options["socket_timeout"]) == (0.5, 3.0)


def test_redis_options_of_the_user_win():
    connection = made(
        "rediss://me:p@h:1/2?credential_provider=a.b",
        options={"socket_timeout": 9, "fanout_prefix": "/x.", "client_name": None},
    )
    assert connection.transport_options["socket_timeout"] == 9
    assert connection.transport_options["fanout_prefix"] == "/x."
    assert connection.transport_options["client_name"] is None
    assert connection.virtual_host == "2"
    assert connection.credential_provider == "a.b"
    assert connection.ssl["tls"].check_hostname is True


def test_a_unix_socket_is_left_to_kombu():
    connection = made("redis+socket://me:p%40@/run/redis.sock?virtual_host=3")
    assert connection.hostname == "socket://me:p%40@/run/redis.sock?virtual_host=3"
    assert connection.transport_cls == "redis"


def test_attempts_go_round_the_addresses():
    urls = "amqp://u:p@a//;b;amqp://c//"
    hosts = [made(urls, attempt=number).hostname for number in range(4)]
    assert hosts == ["a", "b", "c", "a"]


def test_sentinels_are_given_all_with_quick_failures():
    connection = made(
        "sentinel://:p@a:1/2?ssl_cert_reqs=none;b:3",
        options={"master_name": "m", "sentinel_kwargs": {"password": "s"}},
    )
    assert connection.alt == ["sentinel://:p@a:1/2", "sentinel://:p@b:3/2"]
    assert (connection.virtual_host, connection.password) == ("2", "p")
    sentinel = connection.transport_options["sentinel_kwargs"]
    assert sentinel["password"] == "s"
    assert sentinel["retry"].get_retries() == 0
    assert connection.ssl["tls"].verify == "none"


# fmt: off
WRONG = [
    *((f"redis://:secret@h/{database}", {}, "is no number of a Redis database", "the last slash")
      for database in ("x", "-1", "1/2", "%C2%B2")),
    ("amqp://u:secret@h?heartbeat=3", {}, "unknown parameter 'heartbeat'", "use --heartbeat"),
    ("amqp://u:secret@h?cacertfile=x", {}, "unknown parameter 'cacertfile'", "use --tls-ca"),
    ("amqp://u:secret@h?foo=secret", {}, "unknown parameter", "use --broker-option foo=..."),
    ("amqp://u:secret@h?password=secret", {}, "unknown parameter", "USER:PASSWORD@ in front of"),
    ("amqp://u:secret@h?db=secret", {}, "unknown parameter", "behind the host, as in redis://host"),
    *(("redis://h", {"fanout_prefix": prefix}, "only {db} may stand in braces", "are doubled")
      for prefix in ("/{shop}.", "/{0}.", "/{db", "{}")),
    *(("redis://h", {"protocol": protocol}, "Redis has 2 and 3", "")
      for protocol in (1, 4, "two")),
]
# fmt: on


@pytest.mark.parametrize(("url", "options", "words", "hint"), WRONG)
def test_what_cannot_work_is_refused(url, options, words, hint):
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        made(url, options=options)
    assert hint in caught.value.hint
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("url", "name", "hint"),
    [
        ("redis://h", "fanout_prefx", "did you mean fanout_prefix?"),
        ("rediss://h", "socket_timout", "did you mean socket_timeout?"),
        ("valkey://h", "protcol", "did you mean protocol?"),
        ("redis+socket:///x", "master_name", "these are known: ack_emulation, "),
        ("sentinel://h", "min_sentinels", "did you mean min_other_sentinels?"),
        ("amqp://h", "confirm_publsh", "did you mean confirm_publish?"),
        ("amqps://h", "visibility_timeout", "these are known: "),
        ("memory://", "fanout_prefix", "these are known: body_encoding"),
    ],
)
def test_an_option_that_kombu_would_drop_is_refused(url, name, hint):
    options = {"master_name": "m"} if url.startswith("sentinel") else {}
    with pytest.raises(UsageError, match="has no transport option") as caught:
        made(url, options={**options, name: 1})
    assert repr(name) in caught.value.message
    assert hint in caught.value.hint
    settings = {"options": {**options, name: 1}, "may_ignore": frozenset({name})}
    made(url, **settings).release()


@pytest.mark.parametrize("url", ["redis://h", "amqp://h", "memory://"])
def test_how_often_celery_shall_try_is_no_unknown_option(url):
    options = dict.fromkeys(("max_retries", "interval_start", "interval_step"), 1)
    assert made(url, options=options).transport_options["max_retries"] == 1


def test_a_failure_is_raised_at_once_and_as_it_is():
    # kombu itself would sleep for two seconds and try again.
    with pytest.raises(ConnectionRefusedError):
        made("amqp://127.0.0.1:1//").channel()


# --- a connection for one question -----------------------------------------------


@pytest.fixture
def brokers(monkeypatch):
    """What happens at each address that is tried: an error, or None; and the attempts."""
    answers, attempts = [], []

    class Broker(OneAttempt):
        @property
        def default_channel(self):
            if error := answers.pop(0):
                raise error

        def release(self):
            attempts[-1] += " released"

    def connection(**arguments):
        attempts.append(f"{arguments['hostname']} {arguments['password']}")
        return Broker(**arguments)

    monkeypatch.setattr("evtools.transport.connection.OneAttempt", connection)
    return answers, attempts


DOWN, REFUSED = ConnectionRefusedError(), AuthenticationError("WRONGPASS")


def test_one_of_several_addresses_is_enough_and_the_last_says_why(brokers):
    answers, attempts = brokers
    settings = ConnectionSettings(urls="redis://:p@a;redis://:q@b")
    answers += [DOWN, None]
    probe(settings)
    assert attempts == ["a p released", "b q released"]
    answers += [REFUSED, DOWN]
    with pytest.raises(BrokerUnavailable, match="connection refused"):
        probe(settings)
    assert not answers


def test_a_password_that_was_changed_is_read_again_once(brokers):
    answers, attempts = brokers
    tokens = count()
    renewal = Renewal("redis://:old@h", lambda: f"redis://:{next(tokens)}@h", due=False)
    settings = ConnectionSettings(urls="redis://:old@h", renewal=renewal)
    answers += [REFUSED, None]
    probe(settings)
    assert attempts == ["h old released", "h 0 released"]
    assert settings.current == "redis://:0@h"
    answers += [REFUSED, REFUSED]
    with pytest.raises(AccessRefused):
        probe(settings)
    assert not answers
