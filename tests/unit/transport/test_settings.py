import math

import pytest

from evtools.errors import UsageError
from evtools.transport.settings import TLS, ConnectionSettings


def test_no_representation_shows_the_password():
    settings = ConnectionSettings(
        urls="redis://:secret@h/0", options={"sentinel_kwargs": {"password": "other"}}
    )
    assert repr(settings) == "ConnectionSettings(urls='redis://:**@h/0', ...)"
    assert settings.masked() == "redis://:**@h/0"


# fmt: off
BAD = [
    ("--connect-timeout", "connect_timeout", [0, -1.0, math.nan, True, "4"]),
    ("--queue", "event_queue", ["x" * 256, None]),
    ("--heartbeat", "heartbeat", [-1, math.inf]),
    ("--event-exchange", "event_exchange", ["", "x" * 256, "a\nb"]),
    ("--event-queue-prefix", "event_queue_prefix", [""]),
    ("--control-exchange", "control_exchange", [5]),
    ("--event-queue-ttl", "event_queue_ttl", [-1, 5_000_000]),
    ("--event-queue-expires", "event_queue_expires", [0]),
    ("--event-routing-key", "routing_keys", [(), ("task.#", "")]),
    ("--accept", "accept", [(), ("json", "xml")]),
    ("--buffer-size", "buffer_bytes", [1000, 1e9]),
    ("--login-method", "login_method", ["MAGIC"]),
]
EDGES = [
    ("heartbeat", 0), ("event_queue_ttl", None), ("event_queue_ttl", 0),
    ("event_queue_expires", None), ("login_method", "EXTERNAL"),
]
# Settings that contradict each other, or cannot be read.
UNFIT = [
    ({"event_queue_exclusive": True, "event_queue_durable": True},
     "exclude each other", "--no-event-queue-exclusive"),
    ({"read_only": True, "enable_events": True}, "--read-only and --enable-events", ""),
    ({"event_queue": "celery", "event_queue_ttl": None, "event_queue_expires": None},
     "--queue needs", "tasks"),
    ({"urls": " ", "source_of_url": "CELERY_BROKER_URL"},
     r"is empty \(CELERY_BROKER_URL", "-b redis://"),
    ({"urls": "redis://:secret/x@h/0", "source_of_url": "BROKER_URL"},
     "cannot read the broker URL", "BROKER_URL"),
]
UNFIT_TLS = [
    ({"key": "key.pem"}, "--tls-key needs --tls-cert"),
    ({"verify": "perhaps"}, "--tls-verify: 'perhaps'"),
    *(({"server_name": name}, "--tls-server-name: .* no name of a host")
      for name in ("a..b", ".x", "a" * 64, "a\0b")),
]
# fmt: on


@pytest.mark.parametrize(("option", "field", "values"), BAD)
def test_a_bad_value_is_refused_by_the_name_of_its_option(option, field, values):
    for value in values:
        with pytest.raises(UsageError, match=option):
            ConnectionSettings(**{field: value})


@pytest.mark.parametrize(("field", "value"), EDGES)
def test_the_edges_of_what_is_good_are_taken(field, value):
    assert getattr(ConnectionSettings(**{field: value}), field) == value


@pytest.mark.parametrize(("fields", "message", "hint"), UNFIT)
def test_what_cannot_work_is_refused_with_the_reason(fields, message, hint):
    with pytest.raises(UsageError, match=message) as caught:
        ConnectionSettings(**fields)
    assert hint in caught.value.hint
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(("fields", "message"), UNFIT_TLS)
def test_tls_that_cannot_work_is_refused(fields, message):
    with pytest.raises(UsageError, match=message):
        TLS(**fields)
