import pytest

from evtools.cli.connecting import connection_settings
from evtools.cli.dump_command import evdump
from evtools.errors import ImproperlyConfigured, UsageError
from evtools.transport import TLS, ConnectionSettings

REDIS_ONLY = frozenset({"fanout_prefix", "fanout_patterns", "global_keyprefix"})


def settings(*arguments):
    with evdump.make_context("evdump", list(arguments)) as ctx:
        return connection_settings(ctx)


def test_without_options_the_settings_are_the_defaults():
    assert settings() == ConnectionSettings(tool="evdump", may_ignore=REDIS_ONLY)


def test_every_option_reaches_its_setting():
    assert settings(
        *("-b", "redis://h/1", "--login-method", "PLAIN"),
        *("--connect-timeout", "2", "--heartbeat", "0", "--no-reconnect"),
        *("--buffer-size", "2M", "--event-routing-key", "task.#"),
        *("--event-exchange", "e", "--event-queue-prefix", "p"),
        *("--event-queue-ttl", "none", "--event-queue-expires", "1m"),
        *("--no-event-queue-exclusive", "--event-queue-durable"),
        *("--control-exchange", "c", "--no-wakeup", "--enable-events"),
        *("--accept", "json", "--accept", "yaml"),
    ) == ConnectionSettings(
        urls="redis://h/1",
        source_of_url="-b flag",
        login_method="PLAIN",
        connect_timeout=2.0,
        heartbeat=0.0,
        reconnect=False,
        buffer_bytes=2 * 1024 * 1024,
        routing_keys=("task.#",),
        event_exchange="e",
        event_queue_prefix="p",
        event_queue_ttl=None,
        event_queue_expires=60.0,
        event_queue_exclusive=False,
        event_queue_durable=True,
        control_exchange="c",
        wakeup=False,
        enable_events=True,
        accept=("json", "yaml"),
        tool="evdump",
        may_ignore=REDIS_ONLY,
    )


def test_an_option_of_the_command_line_must_be_known():
    told = settings("--broker-option", "a=True", "--fanout-prefix", "x")
    assert told.options == {"a": True, "fanout_prefix": "x"}
    assert "a" not in told.may_ignore
    assert "fanout_prefix" in told.may_ignore


def test_read_only_reaches_its_setting():
    assert settings("--read-only").read_only


def test_tls_options_become_a_record():
    assert settings(
        *("--tls", "--tls-ca", "ca", "--tls-cert", "c", "--tls-key", "k"),
        *("--tls-verify", "none", "--no-tls-check-hostname"),
    ).tls == TLS(enabled=True, ca="ca", cert="c", key="k", verify="none", check_hostname=False)
    assert settings("--no-tls").tls.enabled is False


def test_redis_options_are_transport_options():
    assert settings(
        *("--fanout-prefix", "off", "--no-fanout-patterns"),
        *("--global-keyprefix", "x:", "--broker-option", "fanout_prefix=/y."),
    ).options == {"fanout_prefix": False, "fanout_patterns": False, "global_keyprefix": "x:"}


def test_a_file_with_the_url_is_named_as_its_source(tmp_path, monkeypatch):
    path = tmp_path / "url"
    path.write_text("redis://:pw@h")
    assert settings("-b", f"@{path}").source_of_url == f"-b @{path}"
    monkeypatch.setenv("EVTOOLS_BROKER_URL", f"@{path}")
    assert settings().source_of_url == f"EVTOOLS_BROKER_URL (@{path})"
    assert settings().urls == "redis://:pw@h"


@pytest.mark.parametrize("instead", [("--demo",), ("-r", "recording.jsonl")])
def test_a_broker_that_nobody_asks_may_be_wrong_in_the_environment(monkeypatch, instead):
    monkeypatch.setenv("CELERY_BROKER_URL", "::")
    with pytest.raises(UsageError):
        settings()
    assert settings(*instead).urls == ConnectionSettings().urls
    with pytest.raises(UsageError):
        settings(*instead, "-b", "::")


def test_contradictions_are_refused():
    with pytest.raises(ImproperlyConfigured):
        settings("--event-queue-durable")
