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


@pytest.mark.parametrize(
    ("field", "value", "option"),
    [
        ("connect_timeout", 0, "--connect-timeout"),
        ("connect_timeout", -1.0, "--connect-timeout"),
        ("connect_timeout", math.nan, "--connect-timeout"),
        ("connect_timeout", True, "--connect-timeout"),
        ("connect_timeout", "4", "--connect-timeout"),
        ("event_queue", "x" * 256, "--queue"),
        ("event_queue", None, "--queue"),
        ("heartbeat", -1, "--heartbeat"),
        ("heartbeat", math.inf, "--heartbeat"),
        ("event_exchange", "", "--event-exchange"),
        ("event_exchange", "x" * 256, "--event-exchange"),
        ("event_exchange", "a\nb", "--event-exchange"),
        ("event_queue_prefix", "", "--event-queue-prefix"),
        ("control_exchange", 5, "--control-exchange"),
        ("event_queue_ttl", -1, "--event-queue-ttl"),
        ("event_queue_ttl", 5_000_000, "--event-queue-ttl"),
        ("event_queue_expires", 0, "--event-queue-expires"),
        ("routing_keys", (), "--event-routing-key"),
        ("routing_keys", ("task.#", ""), "--event-routing-key"),
        ("accept", (), "--accept"),
        ("accept", ("json", "xml"), "--accept"),
        ("buffer_bytes", 1000, "--buffer-size"),
        ("buffer_bytes", 1e9, "--buffer-size"),
        ("login_method", "MAGIC", "--login-method"),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_option(field, value, option):
    with pytest.raises(UsageError, match=option):
        ConnectionSettings(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("heartbeat", 0),
        ("event_queue_ttl", None),
        ("event_queue_ttl", 0),
        ("event_queue_expires", None),
        ("login_method", "EXTERNAL"),
    ],
)
def test_the_edges_of_what_is_good_are_taken(field, value):
    assert getattr(ConnectionSettings(**{field: value}), field) == value


@pytest.mark.parametrize(
    ("make", "message", "hint"),
    [
        (
            lambda: ConnectionSettings(event_queue_exclusive=True, event_queue_durable=True),
            "exclude each other",
            "--no-event-queue-exclusive",
        ),
        (
            lambda: ConnectionSettings(read_only=True, enable_events=True),
            "--read-only and --enable-events",
            "",
        ),
        (
            lambda: ConnectionSettings(
                event_queue="celery", event_queue_ttl=None, event_queue_expires=None
            ),
            "--queue needs",
            "tasks",
        ),
        (
            lambda: ConnectionSettings(urls=" ", source_of_url="CELERY_BROKER_URL"),
            r"is empty \(CELERY_BROKER_URL",
            "-b redis://",
        ),
        (
            lambda: ConnectionSettings(urls="redis://:secret/x@h/0", source_of_url="BROKER_URL"),
            "cannot read the broker URL",
            "BROKER_URL",
        ),
        (lambda: TLS(key="key.pem"), "--tls-key needs --tls-cert", ""),
        (lambda: TLS(verify="perhaps"), "--tls-verify: 'perhaps'", ""),
        *(
            (lambda name=name: TLS(server_name=name), "--tls-server-name: .* no name of a host", "")
            for name in ("a..b", ".x", "a" * 64, "a\0b")
        ),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(make, message, hint):
    with pytest.raises(UsageError, match=message) as caught:
        make()
    assert hint in caught.value.hint
    assert "secret" not in caught.value.message
